/* Attention on every level against double, and its bits whatever queries are computed together. */
#include "tests/kernels/harness.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const long tokens_list[] = {1,  2,  5,  6,  7,  8,  9,  13, 15,
                                   16, 17, 19, 31, 33, 35, 47, 48, 131};
static const long dim_list[] = {1, 7, 8, 9, 16, 20, 31, 32, 33, 64, 67, 80, 96, 128};

#define COUNT(list) ((long)(sizeof(list) / sizeof(*(list))))

struct heads {
    float *q, *k, *v, *out;
    void *scratch;
};

/* Scratch is aligned to 64 and ends as near to the trap as that allows. */
static struct kern_attention attention_new(const struct kern_table *table, struct random *random,
                                           struct heads *heads, long tokens, long dim,
                                           enum input kind)
{
    const long stride = dim + tokens % 5;
    const long count = (tokens - 1) * stride + dim;
    const size_t scratch = (table->attention_scratch(tokens, dim) + 63) / 64 * 64;
    heads->q = GUARDED(float, count, GUARD_AFTER);
    heads->k = GUARDED(float, count, GUARD_AFTER);
    heads->v = GUARDED(float, count, GUARD_AFTER);
    heads->out = GUARDED(float, count, GUARD_AFTER);
    heads->scratch = guard_alloc(scratch, GUARD_AFTER);
    random_fill(random, heads->q, count, kind);
    random_fill(random, heads->k, count, kind);
    random_fill(random, heads->v, count, kind);
    return (struct kern_attention){.q = heads->q,
                                   .k = heads->k,
                                   .v = heads->v,
                                   .stride = stride,
                                   .out = heads->out,
                                   .out_stride = stride,
                                   .tokens = tokens,
                                   .dim = dim,
                                   .q1 = tokens,
                                   .scale = 1.0f / sqrtf((float)dim),
                                   .scratch = heads->scratch};
}

static void attention_free(struct heads *heads)
{
    guard_free(heads->q);
    guard_free(heads->k);
    guard_free(heads->v);
    guard_free(heads->out);
    guard_free(heads->scratch);
}

/* One query in double. The bound: how far the scores and exp move a weight, then the roundings of the sums. */
static double check_query(const struct kern_attention *job, long i, double *weight)
{
    const double unit = 0x1p-24;
    double highest = -INFINITY;
    double score_error = 0;
    for (long t = 0; t < job->tokens; t++) {
        double dot = 0;
        double size = 0;
        for (long d = 0; d < job->dim; d++) {
            const double product =
                (double)job->q[i * job->stride + d] * (double)job->k[t * job->stride + d];
            dot += product;
            size += fabs(product);
        }
        weight[t] = dot * (double)job->scale;
        highest = fmax(highest, weight[t]);
        score_error = fmax(score_error, (double)(job->dim + 2) * unit * size * (double)job->scale);
    }
    if (highest > (double)FLT_MAX / 4 || score_error > 0.1)
        return 0; /* too large for float to say anything */
    double sum = 0;
    for (long t = 0; t < job->tokens; t++) {
        weight[t] = exp(weight[t] - highest);
        sum += weight[t];
    }
    /* Twice, since the sum of the weights is as wrong as each of them. */
    const double relative =
        2 * (1.1 * score_error + 2e-7 + unit * 90) + unit * (double)(2 * job->tokens + 4);
    double worst = 0;
    for (long d = 0; d < job->dim; d++) {
        double exact = 0;
        double size = 0;
        for (long t = 0; t < job->tokens; t++) {
            const double product = weight[t] / sum * (double)job->v[t * job->stride + d];
            exact += product;
            size += fabs(product);
        }
        const double got = job->out[i * job->out_stride + d];
        if (size > (double)FLT_MAX / 512)
            continue;
        const double bound = relative * size + (double)job->tokens * (double)FLT_MIN;
        require(fabs(got - exact) <= bound,
                "tokens %ld dim %ld: out[%ld][%ld] is %.9g, exactly %.9g, bound %.3g", job->tokens,
                job->dim, i, d, got, exact, bound);
        worst = fmax(worst, fabs(got - exact));
    }
    return worst;
}

/* Each query alone and in uneven parts gives the bits of all together, and writes its rows only. */
static void check_parts(const struct kern_table *table, const struct kern_attention *whole)
{
    const long tokens = whole->tokens;
    const long count = (tokens - 1) * whole->out_stride + whole->dim;
    float *expected = calloc((size_t)count, sizeof(*expected));
    require(expected != NULL, "no memory");
    memcpy(expected, whole->out, (size_t)count * sizeof(*expected));
    for (long first = 0; first < tokens; first += 1 + tokens / 7) {
        for (long many = 1; many <= 11 && first + many <= tokens; many += 2) {
            struct kern_attention job = *whole;
            job.q0 = first;
            job.q1 = first + many;
            memset(job.out, 0x5A, (size_t)count * sizeof(float));
            table->attention(&job);
            for (long i = 0; i < tokens; i++) {
                const uint32_t *row =
                    (const uint32_t *)(const void *)(job.out + i * job.out_stride);
                const void *same = expected + i * job.out_stride;
                if (i >= job.q0 && i < job.q1)
                    require(memcmp(row, same, (size_t)job.dim * sizeof(float)) == 0,
                            "tokens %ld dim %ld: query %ld differs in %ld-%ld", tokens, job.dim, i,
                            job.q0, job.q1);
                for (long d = 0; d < job.dim && (i < job.q0 || i >= job.q1); d++)
                    require(row[d] == 0x5A5A5A5Au, "query %ld was written in %ld-%ld", i, job.q0,
                            job.q1);
            }
        }
    }
    free(expected);
}

static double check(const struct kern_table *table, long tokens, long dim, enum input kind)
{
    struct random random = {(uint64_t)(tokens * 1009 + dim)};
    struct heads heads;
    const struct kern_attention job = attention_new(table, &random, &heads, tokens, dim, kind);
    double *weight = calloc((size_t)tokens, sizeof(*weight));
    require(weight != NULL, "no memory");
    table->attention(&job);
    double worst = 0;
    for (long i = 0; i < tokens; i++)
        worst = fmax(worst, check_query(&job, i, weight));
    if (kind == INPUT_RANDOM)
        check_parts(table, &job);
    free(weight);
    attention_free(&heads);
    return worst;
}

START_TEST(attention_is_within_its_bound)
{
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    double worst = 0;
    for (long t = 0; t < COUNT(tokens_list); t++)
        for (long d = 0; d < COUNT(dim_list); d++)
            worst = fmax(worst, check(&table, tokens_list[t], dim_list[d], INPUT_RANDOM));
    for (int kind = 0; kind < INPUT_KINDS; kind++) {
        check(&table, 19, 32, (enum input)kind);
        check(&table, 50, 64, (enum input)kind);
    }
    worst = fmax(worst, check(&table, 512, 64, INPUT_RANDOM));
    printf("%s: attention is wrong by up to %.2g\n", table.name, worst);
}
END_TEST

/* A query that meets one key alone takes that key's value. */
START_TEST(attention_picks_one_value)
{
    enum { TOKENS = 21, DIM = 32 };
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    struct random random = {11};
    struct heads heads;
    struct kern_attention job = attention_new(&table, &random, &heads, TOKENS, DIM, INPUT_RANDOM);
    for (long t = 0; t < TOKENS; t++) {
        for (long d = 0; d < DIM; d++) {
            heads.q[t * job.stride + d] = d == t % DIM ? 1000.0f : 0.0f;
            heads.k[t * job.stride + d] = d == (t + 3) % TOKENS ? 1.0f : 0.0f;
        }
    }
    job.scale = 1.0f;
    table.attention(&job);
    for (long t = 0; t < TOKENS; t++)
        require(memcmp(heads.out + (t + 3) % TOKENS * job.out_stride, heads.v + t * job.stride,
                       DIM * sizeof(float)) == 0,
                "query %ld", (t + 3) % TOKENS);
    attention_free(&heads);
}
END_TEST

/* Scores far below zero: exp would vanish but for the maximum, to which padding must not count. */
START_TEST(attention_to_keys_far_away)
{
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    for (long tokens = 1; tokens <= 35; tokens++) {
        struct random random = {(uint64_t)tokens};
        struct heads heads;
        struct kern_attention job = attention_new(&table, &random, &heads, tokens, 8, INPUT_RANDOM);
        for (long t = 0; t < tokens; t++) {
            heads.q[t * job.stride] = 20.0f;
            heads.k[t * job.stride] = -30.0f;
        }
        double weight[35];
        table.attention(&job);
        for (long t = 0; t < tokens; t++)
            check_query(&job, t, weight);
        attention_free(&heads);
    }
}
END_TEST

static void add(TCase *tests)
{
    add_level_test(tests, attention_to_keys_far_away);
    add_level_test(tests, attention_is_within_its_bound);
    add_level_test(tests, attention_picks_one_value);
}

int main(void)
{
    return run_kernel_tests("attention", add);
}

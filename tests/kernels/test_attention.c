/* Attention on every level and for every scheme that it computes apart, against double, and its bits whatever queries are
 * computed together. */
#include "tests/kernels/harness.h"

#include "kernels/bf16.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const long tokens_list[] = {1,  2,  5,  6,  7,  8,  9,  13, 15,
                                   16, 17, 19, 31, 33, 35, 47, 48, 131};
static const long dim_list[] = {1, 7, 8, 9, 16, 20, 31, 32, 33, 64, 67, 80, 96, 128};

#define COUNT(list) ((long)(sizeof(list) / sizeof(*(list))))

/* A table and the scheme whose attention is tested. */
struct subject {
    struct kern_table table;
    enum kern_scheme scheme;
};

/* Whether the level is there and computes this scheme's attention apart from that in float. */
static int subject_of(struct subject *subject, int level, enum kern_scheme scheme)
{
    if (!level_table(&subject->table, level))
        return 0;
    subject->scheme = scheme;
    return scheme == KERN_F32 ||
           subject->table.attention[scheme] != subject->table.attention[KERN_F32];
}

static int is_split(const struct subject *subject)
{
    return subject->scheme == KERN_SPLIT_BF16;
}

/* A query, key or value as a scheme reads it. */
static double seen(const struct subject *subject, float x)
{
    if (subject->scheme == KERN_F32)
        return (double)x;
    const double high = (double)kern_bf16_value(kern_bf16_round(x));
    return is_split(subject) ? high + (double)kern_bf16_value(kern_bf16_rest(x)) : high;
}

/* Errors of the answers so far. */
struct errors {
    double worst;
    double squares, of_squares; /* against the floats that were given, and of the exact answers */
};

struct heads {
    float *q, *k, *v, *out;
    void *scratch;
};

/* Scratch is aligned to 64 and ends as near to the trap as that allows. */
static struct kern_attention attention_new(const struct subject *subject, struct random *random,
                                           struct heads *heads, long tokens, long dim,
                                           enum input kind)
{
    const long stride = dim + tokens % 5;
    const long count = (tokens - 1) * stride + dim;
    const size_t scratch =
        (subject->table.attention_scratch[subject->scheme](tokens, dim) + 63) / 64 * 64;
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

/* The weights of one query in double, on values as the scheme sees them or as they are; returns the highest score and how far
 * float sums of the products, and lo lo where that is left out, may move one. */
static double weigh(const struct subject *subject, const struct kern_attention *job, long i,
                    double *weight, double *score_error)
{
    const double unit = 0x1p-24, left_out = is_split(subject) ? 0x1p-16 : 0.0;
    double highest = -INFINITY;
    *score_error = 0;
    for (long t = 0; t < job->tokens; t++) {
        double dot = 0;
        double size = 0;
        for (long d = 0; d < job->dim; d++) {
            const double product = seen(subject, job->q[i * job->stride + d]) *
                                   seen(subject, job->k[t * job->stride + d]);
            dot += product;
            size += fabs(product);
        }
        weight[t] = dot * (double)job->scale;
        highest = fmax(highest, weight[t]);
        *score_error = fmax(*score_error,
                            ((double)(job->dim + 2) * unit + left_out) * size * (double)job->scale);
    }
    return highest;
}

/* To exp(score - highest); returns their sum. */
static double normalise(double *weight, long tokens, double highest)
{
    double sum = 0;
    for (long t = 0; t < tokens; t++) {
        weight[t] = exp(weight[t] - highest);
        sum += weight[t];
    }
    return sum;
}

/* One query in double. The bound: how far the scores, exp and its rounding move a weight, then the roundings of the sums. */
static void check_query(const struct subject *subject, const struct kern_attention *job, long i,
                        double *weight, struct errors *errors)
{
    const double unit = 0x1p-24;
    const double rounding = subject->scheme == KERN_F32 ? 0 : is_split(subject) ? 0x1p-15 : 0x1p-8;
    double score_error;
    const double highest = weigh(subject, job, i, weight, &score_error);
    if (!(highest <= (double)FLT_MAX / 4) || score_error > 0.1)
        return; /* too large for float to say anything */
    const double sum = normalise(weight, job->tokens, highest);
    /* Twice, since the sum of the weights is as wrong as each of them. */
    const double relative = 2 * (1.1 * score_error + 2e-7 + unit * 90) +
                            unit * (double)(2 * job->tokens + 4) + 1.01 * rounding;
    for (long d = 0; d < job->dim; d++) {
        double exact = 0;
        double size = 0;
        for (long t = 0; t < job->tokens; t++) {
            const double product = weight[t] / sum * seen(subject, job->v[t * job->stride + d]);
            exact += product;
            size += fabs(product);
        }
        const double got = job->out[i * job->out_stride + d];
        if (!(size <= (double)FLT_MAX / 512))
            continue;
        const double bound = relative * size + (double)job->tokens * (double)FLT_MIN;
        require(fabs(got - exact) <= bound,
                "scheme %d tokens %ld dim %ld: out[%ld][%ld] is %.9g, exactly %.9g, bound %.3g",
                subject->scheme, job->tokens, job->dim, i, d, got, exact, bound);
        errors->worst = fmax(errors->worst, fabs(got - exact));
    }
}

/* Adds one query's errors against the floats themselves. */
static void measure_query(const struct kern_attention *job, long i, double *weight,
                          struct errors *errors)
{
    const struct subject floats = {.scheme = KERN_F32};
    double score_error;
    const double highest = weigh(&floats, job, i, weight, &score_error);
    const double sum = normalise(weight, job->tokens, highest);
    for (long d = 0; d < job->dim; d++) {
        double exact = 0;
        for (long t = 0; t < job->tokens; t++)
            exact += weight[t] / sum * (double)job->v[t * job->stride + d];
        const double error = (double)job->out[i * job->out_stride + d] - exact;
        errors->squares += error * error;
        errors->of_squares += exact * exact;
    }
}

/* Each query alone and in uneven parts gives the bits of all together, and writes its rows only. */
static void check_parts(const struct subject *subject, const struct kern_attention *whole)
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
            subject->table.attention[subject->scheme](&job);
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

static void check(const struct subject *subject, long tokens, long dim, enum input kind,
                  struct errors *errors)
{
    struct random random = {(uint64_t)(tokens * 1009 + dim)};
    struct heads heads;
    const struct kern_attention job = attention_new(subject, &random, &heads, tokens, dim, kind);
    double *weight = calloc((size_t)tokens, sizeof(*weight));
    require(weight != NULL, "no memory");
    subject->table.attention[subject->scheme](&job);
    for (long i = 0; i < tokens; i++)
        check_query(subject, &job, i, weight, errors);
    for (long i = 0; kind == INPUT_RANDOM && i < tokens; i++)
        measure_query(&job, i, weight, errors);
    if (kind == INPUT_RANDOM)
        check_parts(subject, &job);
    free(weight);
    attention_free(&heads);
}

/* What kernels.h promises of all answers together, as the root of squares over that of the exact answers. */
static const double relative_error[KERN_SCHEMES] = {
    [KERN_F32] = 1e-6, [KERN_BF16] = 5e-3, [KERN_INT8] = 5e-3, [KERN_SPLIT_BF16] = 1e-5};

static void check_scheme(int level, enum kern_scheme scheme)
{
    struct subject subject;
    struct errors errors = {0}, long_errors = {0};
    if (!subject_of(&subject, level, scheme))
        return;
    for (long t = 0; t < COUNT(tokens_list); t++)
        for (long d = 0; d < COUNT(dim_list); d++)
            check(&subject, tokens_list[t], dim_list[d], INPUT_RANDOM, &errors);
    for (int kind = INPUT_ZERO; kind < INPUT_KINDS; kind++) {
        check(&subject, 19, 32, (enum input)kind, &errors);
        check(&subject, 50, 64, (enum input)kind, &errors);
    }
    check(&subject, 512, 64, INPUT_RANDOM, &long_errors);
    const double relative = sqrt(errors.squares / errors.of_squares);
    const double long_relative = sqrt(long_errors.squares / long_errors.of_squares);
    printf("%s, scheme %d: attention is wrong by up to %.2g, relative %.2g, over 512 tokens %.2g\n",
           subject.table.name, scheme, fmax(errors.worst, long_errors.worst), relative,
           long_relative);
    require(relative <= relative_error[scheme], "relative error %.3g", relative);
    require(long_relative <= relative_error[scheme], "relative error %.3g", long_relative);
}

START_TEST(attention_is_within_its_bound)
{
    for (int scheme = 0; scheme < KERN_SCHEMES; scheme++)
        check_scheme(_i, (enum kern_scheme)scheme);
}
END_TEST

/* A query that meets one key alone takes that key's value. */
static void check_pick(const struct subject *subject)
{
    enum { TOKENS = 21, DIM = 32 };
    struct random random = {11};
    struct heads heads;
    struct kern_attention job = attention_new(subject, &random, &heads, TOKENS, DIM, INPUT_RANDOM);
    for (long t = 0; t < TOKENS; t++) {
        for (long d = 0; d < DIM; d++) {
            heads.q[t * job.stride + d] = d == t % DIM ? 1000.0f : 0.0f;
            heads.k[t * job.stride + d] = d == (t + 3) % TOKENS ? 1.0f : 0.0f;
        }
    }
    job.scale = 1.0f;
    subject->table.attention[subject->scheme](&job);
    for (long t = 0; t < TOKENS; t++)
        for (long d = 0; d < DIM; d++) {
            const double value = seen(subject, heads.v[t * job.stride + d]);
            require((double)heads.out[(t + 3) % TOKENS * job.out_stride + d] == value, "query %ld",
                    (t + 3) % TOKENS);
        }
    attention_free(&heads);
}

START_TEST(attention_picks_one_value)
{
    struct subject subject;
    for (int scheme = 0; scheme < KERN_SCHEMES; scheme++)
        if (subject_of(&subject, _i, (enum kern_scheme)scheme))
            check_pick(&subject);
}
END_TEST

/* Scores far below zero: exp would vanish but for the maximum, to which padding must not count. */
static void check_far(const struct subject *subject, long tokens)
{
    struct random random = {(uint64_t)tokens};
    struct heads heads;
    struct kern_attention job = attention_new(subject, &random, &heads, tokens, 8, INPUT_RANDOM);
    struct errors errors = {0};
    for (long t = 0; t < tokens; t++) {
        heads.q[t * job.stride] = 20.0f;
        heads.k[t * job.stride] = -30.0f;
    }
    double weight[35];
    subject->table.attention[subject->scheme](&job);
    for (long t = 0; t < tokens; t++)
        check_query(subject, &job, t, weight, &errors);
    attention_free(&heads);
}

START_TEST(attention_to_keys_far_away)
{
    struct subject subject;
    for (int scheme = 0; scheme < KERN_SCHEMES; scheme++)
        for (long tokens = 1; tokens <= 35 && subject_of(&subject, _i, (enum kern_scheme)scheme);
             tokens++)
            check_far(&subject, tokens);
}
END_TEST

/* The softmax of a score x beside one of 0 is exp(x) / (exp(x) + 1): exp over all of its range, each query another x, to the
 * 1.2e-7 that it promises, doubled for its rounding in the sum, and three roundings. */
START_TEST(exp_is_within_its_bound)
{
    enum { TOKENS = 64, DIM = 8, STEP = 4001 };
    const double bound = 2 * 1.2e-7 + 3 * 0x1p-24;
    struct random random = {1};
    struct subject subject;
    struct heads heads;
    double worst = 0;
    if (!subject_of(&subject, _i, KERN_F32))
        return;
    struct kern_attention job = attention_new(&subject, &random, &heads, TOKENS, DIM, INPUT_ZERO);
    job.scale = 1.0f;
    heads.k[job.stride] =
        1.0f; /* key 0 scores 0, key 1 x, the others so little that they weigh nothing */
    heads.v[job.stride] = 1.0f;
    for (long t = 0; t < TOKENS; t++) {
        heads.q[t * job.stride + 1] = 1.0f;
        heads.k[t * job.stride + 1] = t > 1 ? -1000.0f : 0.0f;
    }
    for (uint32_t bits = 0xb3800000u; bits < 0xc2ae0000u;) { /* -6e-8 to -87 */
        for (long t = 0; t < TOKENS; t++, bits += STEP)
            memcpy(&heads.q[t * job.stride], &bits, sizeof(bits));
        subject.table.attention[KERN_F32](&job);
        for (long t = 0; t < TOKENS; t++) {
            const double power = exp((double)heads.q[t * job.stride]), exact = power / (power + 1);
            const double error = fabs((double)heads.out[t * job.out_stride] - exact);
            if (power < 2 * (double)FLT_MIN)
                continue; /* what remains of the last step, and near denormals */
            require(error <= bound * exact, "exp(%.9g) is %.3g off",
                    (double)heads.q[t * job.stride], error / exact);
            worst = fmax(worst, error / exact);
        }
    }
    printf("%s: exp in a softmax is wrong by up to %.3g\n", subject.table.name, worst);
    attention_free(&heads);
}
END_TEST

static void add(TCase *tests)
{
    add_level_test(tests, exp_is_within_its_bound);
    add_level_test(tests, attention_to_keys_far_away);
    add_level_test(tests, attention_is_within_its_bound);
    add_level_test(tests, attention_picks_one_value);
}

int main(void)
{
    return run_kernel_tests("attention", add);
}

/* Matrices in the form KERN_BLOCKS, bf16 without floats: whatever writes them writes the float that it would have written,
 * rounded, and nothing beside it; whatever reads them does what it would do with those floats. Bit for bit. Levels without
 * that form have nothing to show. */
#include "tests/kernels/harness.h"

#include "kernels/bf16.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(list) ((long)(sizeof(list) / sizeof(*(list))))

enum { UNTOUCHED = 0xA5A5 };

/* Room for `rows` rows of `columns` in whole blocks, with the rest of the last block at the end of what may be read. */
static struct kern_rows blocks_new(long rows, long columns)
{
    const long blocks = round_up(columns, KERN_BF16_ALIGN) / KERN_BF16_ALIGN;
    struct kern_rows matrix = {.bf16_stride = KERN_BF16_ALIGN,
                               .bf16_block = KERN_BF16_ALIGN * (rows | 1)};
    matrix.bf16 =
        GUARDED(uint16_t, (blocks - 1) * matrix.bf16_block + rows * KERN_BF16_ALIGN, GUARD_AFTER);
    return matrix;
}

static uint16_t *at(const struct kern_rows *matrix, long row, long column)
{
    return matrix->bf16 + column / KERN_BF16_ALIGN * matrix->bf16_block +
           row * matrix->bf16_stride + column % KERN_BF16_ALIGN;
}

/* Floats that bf16 holds, in both forms. */
static void fill_both(struct random *random, struct kern_rows *floats, struct kern_rows *blocks,
                      long rows, long columns, enum input kind)
{
    floats->stride = columns + 3;
    floats->f32 = GUARDED(float, (rows - 1) * floats->stride + columns, GUARD_AFTER);
    *blocks = blocks_new(rows, columns);
    random_fill(random, floats->f32, (rows - 1) * floats->stride + columns, kind);
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < columns; c++) {
            float *value = &floats->f32[r * floats->stride + c];
            *at(blocks, r, c) = kern_bf16_round(*value);
            *value = kern_bf16_value(*at(blocks, r, c));
        }
}

static void both_free(struct kern_rows *floats, struct kern_rows *blocks)
{
    guard_free(floats->f32);
    guard_free(blocks->bf16);
}

static int has_blocks(struct kern_table *table, int level, enum kern_scheme scheme)
{
    return level_table(table, level) && table->form[scheme] == KERN_BLOCKS;
}

static void quantised_new(struct kern_rows *rows, long m, long width)
{
    rows->q8_stride = q8_stride(width);
    rows->q8_max = KERN_INT8_MAX;
    rows->scale_stride = 1;
    rows->q8 =
        GUARDED(uint8_t, (m - 1) * rows->q8_stride + round_up(width, KERN_Q8_ALIGN), GUARD_AFTER);
    rows->scale = GUARDED(float, m, GUARD_AFTER);
    rows->zero = GUARDED(int32_t, m, GUARD_AFTER);
}

static void quantised_free(struct kern_rows *rows)
{
    guard_free(rows->q8);
    guard_free(rows->scale);
    guard_free(rows->zero);
}

/* x of a product as its scheme reads it: for BF16 in blocks, as another product may have left it. */
static struct kern_rows product_input(const struct kern_table *table, struct random *random,
                                      enum kern_scheme scheme, long m, long k)
{
    struct kern_rows x = {0}, blocks;
    fill_both(random, &x, &blocks, m, k, INPUT_RANDOM);
    if (scheme == KERN_INT8) {
        quantised_new(&x, m, k);
        table->prepare[KERN_INT8](table, &x, k, 0, m);
        guard_free(blocks.bf16);
        return x;
    }
    guard_free(x.f32);
    return blocks;
}

/* A value in place of `y`, the same product in floats without an epilogue: the float rounded, or GELU of it within its bound
 * and a rounding to 8 bits. */
static int holds(uint16_t found, float y, enum kern_epilogue epilogue)
{
    if (epilogue == KERN_IDENTITY)
        return found == kern_bf16_round(y);
    const double exact = gelu_exact((double)y);
    return fabs((double)kern_bf16_value(found) - exact) <= 1e-5 + 0x1p-8 * fabs(exact);
}

static void check_product(const struct kern_table *table, enum kern_scheme scheme, long m, long n,
                          long k, enum kern_epilogue epilogue)
{
    struct random random = {(uint64_t)(m * 1000003 + n * 1009 + k)};
    const long padded = round_up(n, KERN_PANEL), panels = padded / KERN_PANEL;
    struct packed packed;
    struct kern_rows x = product_input(table, &random, scheme, m, k);
    float *w = GUARDED(float, n *k, GUARD_AFTER);
    int8_t *w8 = GUARDED(int8_t, n * k, GUARD_AFTER);
    float *vectors = GUARDED(float, 2 * n, GUARD_AFTER); /* scales and biases */
    random_fill(&random, w, n * k, INPUT_RANDOM);
    random_fill_s8(&random, w8, n * k);
    random_fill(&random, vectors, 2 * n, INPUT_RANDOM);
    if (scheme == KERN_INT8)
        pack_s8_weights(&packed, table, scheme, w8, vectors, vectors + n, n, k);
    else
        pack_float_weights(&packed, table, scheme, w, vectors + n, n, k);

    float *y = GUARDED(float, m *padded, GUARD_AFTER);
    struct kern_gemm job = {
        .x = &x, .w = &packed.weights, .y = y, .y_stride = padded, .m1 = m, .p1 = panels};
    table->gemm[scheme](&job);
    job.epilogue = epilogue;
    const long parts[][4] = {
        {0, m, 0, panels}, {m / 3, m, panels / 2, panels}, {0, m, 1, panels}, {m - 1, m, 0, 1}};
    struct kern_rows whole = {0};
    for (long part = 0; part < COUNT(parts); part++) {
        struct kern_rows blocks = blocks_new(m, padded);
        whole = part ? whole : blocks;
        job.y = NULL;
        job.blocks = &blocks;
        job.m0 = parts[part][0];
        job.m1 = parts[part][1];
        job.p0 = parts[part][2];
        job.p1 = parts[part][3];
        table->gemm[scheme](&job);
        for (long r = 0; r < m; r++)
            for (long c = 0; c < round_up(padded, KERN_BF16_ALIGN); c++) {
                const int inside = r >= job.m0 && r < job.m1 && c >= job.p0 * KERN_PANEL &&
                                   c < job.p1 * KERN_PANEL;
                const uint16_t found = *at(&blocks, r, c);
                require(
                    inside ? holds(found, y[r * padded + c], epilogue) && found == *at(&whole, r, c)
                           : found == UNTOUCHED,
                    "scheme %d, m %ld n %ld k %ld, part %ld: (%ld, %ld) is %04x, from %a", scheme,
                    m, n, k, part, r, c, found, inside ? (double)y[r * padded + c] : 0.0);
            }
        if (part)
            guard_free(blocks.bf16);
    }
    guard_free(whole.bf16);
    guard_free(y);
    packed_free(&packed);
    guard_free(w);
    guard_free(w8);
    guard_free(vectors);
    guard_free(x.f32);
    guard_free(x.bf16);
    quantised_free(&x);
}

START_TEST(products_write_blocks)
{
    static const long rows[] = {1, 2, 8, 9, 16, 17, 31, 33, 65, 100};
    static const long columns[] = {1, 16, 32, 48, 83, 96};
    static const long depth[] = {32, 96, 416};
    struct kern_table table;
    for (int scheme = 0; scheme < KERN_SCHEMES; scheme++) {
        if (!has_blocks(&table, _i, (enum kern_scheme)scheme))
            continue;
        for (long m = 0; m < COUNT(rows); m++)
            for (long n = 0; n < COUNT(columns); n++)
                for (long k = 0; k < COUNT(depth); k++)
                    check_product(&table, (enum kern_scheme)scheme, rows[m], columns[n], depth[k],
                                  (m + n + k) % 2 ? KERN_GELU : KERN_IDENTITY);
        check_product(&table, (enum kern_scheme)scheme, 550, 64, 1600, KERN_IDENTITY);
    }
}
END_TEST

/* GELU of `x`, N of them, as the biases of a product of zeros. */
static void gelu_into_blocks(const struct kern_table *table, enum kern_scheme scheme,
                             const float *x, long n, long m)
{
    enum { K = KERN_Q8_ALIGN };
    struct random random = {1};
    struct kern_rows input = product_input(table, &random, scheme, m, K);
    struct kern_rows blocks = blocks_new(m, n);
    struct packed packed;
    float *zeros = calloc((size_t)(n * K), sizeof *zeros);
    int8_t *zeros8 = calloc((size_t)(n * K), 1);
    require(zeros && zeros8, "no memory");
    if (scheme == KERN_INT8)
        pack_s8_weights(&packed, table, scheme, zeros8, zeros, x, n, K);
    else
        pack_float_weights(&packed, table, scheme, zeros, x, n, K);
    const struct kern_gemm job = {.x = &input,
                                  .w = &packed.weights,
                                  .blocks = &blocks,
                                  .m1 = m,
                                  .p1 = n / KERN_PANEL,
                                  .epilogue = KERN_GELU};
    table->gemm[scheme](&job);
    for (long r = 0; r < m; r++)
        for (long c = 0; c < n; c++) {
            const float found = kern_bf16_value(*at(&blocks, r, c));
            if (isnan(x[c]))
                require(isnan(found), "gelu(NaN) is %g", (double)found);
            else if (fabsf(x[c]) > 6.0F)
                require(found == (x[c] > 0 ? kern_bf16_value(kern_bf16_round(x[c])) : 0.0F),
                        "gelu(%g) is %g", (double)x[c], (double)found);
            else
                require(holds(*at(&blocks, r, c), x[c], KERN_GELU), "gelu(%.9g) is %.9g",
                        (double)x[c], (double)found);
        }
    guard_free(input.f32);
    guard_free(input.bf16);
    quantised_free(&input);
    guard_free(blocks.bf16);
    packed_free(&packed);
    free(zeros);
    free(zeros8);
}

/* One float in 1,999 of both signs from 1e-7 to 20, and special values; on tiles and on few rows. */
START_TEST(gelu_into_blocks_is_within_its_bound)
{
    enum { N = 1024, STEP = 1999 };
    static const float specials[] = {0.0F, -0.0F, INFINITY, -INFINITY, NAN, 3e38F, -3e38F};
    struct kern_table table;
    float x[N];
    for (int scheme = 0; scheme < KERN_SCHEMES; scheme++) {
        if (!has_blocks(&table, _i, (enum kern_scheme)scheme))
            continue;
        for (uint32_t bits = 0x33d6bf95; bits < 0x41a00000;) {
            for (int i = 0; i < N; i++, bits += STEP) {
                const uint32_t word = bits | (uint32_t)i << 31;
                memcpy(&x[i], &word, sizeof word);
            }
            gelu_into_blocks(&table, (enum kern_scheme)scheme, x, N, bits >> 10 & 1 ? 1 : 9);
        }
        for (int i = 0; i < N; i++)
            x[i] = specials[i % COUNT(specials)];
        gelu_into_blocks(&table, (enum kern_scheme)scheme, x, N, 1);
        gelu_into_blocks(&table, (enum kern_scheme)scheme, x, N, 9);
    }
}
END_TEST

/* BF16 from rows and from blocks of the same values: the same bits. */
START_TEST(products_read_blocks)
{
    enum { M = 37, N = 48, K = 160 };
    struct kern_table table;
    struct random random = {5};
    struct kern_rows x = {0}, blocks;
    struct packed packed;
    if (!has_blocks(&table, _i, KERN_BF16))
        return;
    fill_both(&random, &x, &blocks, M, K, INPUT_RANDOM);
    x.bf16_stride = K;
    x.bf16_block = KERN_BF16_ALIGN;
    x.bf16 = GUARDED(uint16_t, M * K, GUARD_AFTER);
    table.prepare[KERN_BF16](&table, &x, K, 0, M);
    ck_assert(!kern_rows_ready(&x, KERN_BF16) && kern_rows_ready(&blocks, KERN_BF16));
    float *w = GUARDED(float, N *K, GUARD_AFTER), *bias = GUARDED(float, N, GUARD_AFTER);
    float *y = GUARDED(float, 2 * M * N, GUARD_AFTER);
    random_fill(&random, w, N * K, INPUT_RANDOM);
    random_fill(&random, bias, N, INPUT_RANDOM);
    pack_float_weights(&packed, &table, KERN_BF16, w, bias, N, K);
    struct kern_gemm job = {
        .x = &x, .w = &packed.weights, .y = y, .y_stride = N, .m1 = M, .p1 = N / KERN_PANEL};
    table.gemm[KERN_BF16](&job);
    job.x = &blocks;
    job.y = y + M * N;
    table.gemm[KERN_BF16](&job);
    ck_assert_mem_eq(y, y + M * N, M * N * sizeof(float));
    both_free(&x, &blocks);
    guard_free(x.bf16);
    guard_free(w);
    guard_free(bias);
    guard_free(y);
    packed_free(&packed);
}
END_TEST

static const long widths[] = {1, 15, 31, 32, 33, 63, 64, 65, 96, 97, 160, 384, 397};

static void check_quantise(const struct kern_table *table, long width, enum input kind)
{
    enum { M = 5 };
    struct random random = {(uint64_t)width};
    struct kern_rows floats = {0}, blocks;
    fill_both(&random, &floats, &blocks, M, width, kind);
    quantised_new(&floats, M, width);
    quantised_new(&blocks, M, width);
    table->prepare[KERN_INT8](table, &floats, width, 0, M);
    table->prepare[KERN_INT8](table, &blocks, width, 0, 2);
    table->prepare[KERN_INT8](table, &blocks, width, 2, M);
    for (long m = 0; m < M; m++)
        require(memcmp(floats.q8 + m * floats.q8_stride, blocks.q8 + m * blocks.q8_stride,
                       (size_t)round_up(width, KERN_Q8_ALIGN)) == 0,
                "width %ld, row %ld", width, m);
    ck_assert_mem_eq(floats.scale, blocks.scale, M * sizeof(float));
    ck_assert_mem_eq(floats.zero, blocks.zero, M * sizeof(int32_t));
    quantised_free(&floats);
    quantised_free(&blocks);
    both_free(&floats, &blocks);
}

START_TEST(quantising_reads_blocks)
{
    struct kern_table table;
    for (long w = 0; w < COUNT(widths) && has_blocks(&table, _i, KERN_INT8); w++)
        for (int kind = 0; kind < INPUT_KINDS; kind++)
            check_quantise(&table, widths[w], (enum input)kind);
}
END_TEST

static void check_norm(const struct kern_table *table, long width)
{
    enum { M = 5 };
    struct random random = {(uint64_t)width};
    struct kern_rows floats = {0}, blocks, y = {.stride = width}, expected = {.stride = width};
    fill_both(&random, &floats, &blocks, M, width, INPUT_RANDOM);
    float *x = GUARDED(float, M *width, GUARD_AFTER);
    float *gamma = GUARDED(float, width, GUARD_AFTER), *beta = GUARDED(float, width, GUARD_AFTER);
    y.f32 = GUARDED(float, M *width, GUARD_AFTER);
    expected.f32 = GUARDED(float, M *width, GUARD_AFTER);
    random_fill(&random, x, M * width, INPUT_RANDOM);
    random_fill(&random, gamma, width, INPUT_RANDOM);
    random_fill(&random, beta, width, INPUT_RANDOM);
    struct kern_norm job = {.x = x,
                            .x_stride = width,
                            .residual = &floats,
                            .gamma = gamma,
                            .beta = beta,
                            .eps = 1e-12f,
                            .width = width,
                            .y = &expected,
                            .m1 = M};
    table->add_norm(table, &job);
    job.residual = &blocks;
    job.y = &y;
    table->add_norm(table, &job);
    require(memcmp(y.f32, expected.f32, (size_t)(M * width) * sizeof(float)) == 0, "width %ld",
            width);
    guard_free(x);
    guard_free(gamma);
    guard_free(beta);
    guard_free(y.f32);
    guard_free(expected.f32);
    both_free(&floats, &blocks);
}

START_TEST(normalising_reads_blocks)
{
    struct kern_table table;
    for (long w = 0; w < COUNT(widths) && level_table(&table, _i); w++)
        if (table.form[KERN_BF16] == KERN_BLOCKS || table.form[KERN_INT8] == KERN_BLOCKS)
            check_norm(&table, widths[w]);
}
END_TEST

/* One of three heads of a text that begins in the middle of a matrix, from queries in the same or in another one. */
static void check_attention(const struct kern_table *table, enum kern_scheme scheme, long tokens,
                            long dim, long head)
{
    enum { FIRST = 3, HEADS = 3, AFTER = 2 };
    struct random random = {(uint64_t)(tokens * 131 + dim)};
    const long rows = FIRST + tokens + AFTER, width = HEADS * dim, column = head * dim;
    struct kern_rows floats = {0}, blocks;
    fill_both(&random, &floats, &blocks, rows, 3 * width, INPUT_RANDOM);
    struct kern_rows context = blocks_new(rows, width);
    float *out = GUARDED(float, tokens *dim, GUARD_AFTER);
    void *scratch =
        guard_alloc((table->attention_scratch[scheme](tokens, dim) + 63) / 64 * 64, GUARD_AFTER);
    const float *text = floats.f32 + FIRST * floats.stride + column;
    struct kern_attention job = {.q = text,
                                 .k = text + width,
                                 .v = text + 2 * width,
                                 .stride = floats.stride,
                                 .out = out,
                                 .out_stride = dim,
                                 .tokens = tokens,
                                 .dim = dim,
                                 .q0 = tokens / 3,
                                 .q1 = tokens,
                                 .scale = 1.0f / sqrtf((float)dim),
                                 .scratch = scratch};
    table->attention[scheme](&job);
    job.q = job.k = job.v = job.out = NULL;
    job.q_part = (struct kern_part){&blocks, FIRST, column};
    job.k_part = (struct kern_part){&blocks, FIRST, width + column};
    job.v_part = (struct kern_part){&blocks, FIRST, 2 * width + column};
    job.out_part = (struct kern_part){&context, FIRST, column};
    table->attention[scheme](&job);
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < width; c++) {
            const long query = r - FIRST, d = c - column;
            const int inside = query >= job.q0 && query < job.q1 && d >= 0 && d < dim;
            const uint16_t want = inside ? kern_bf16_round(out[query * dim + d]) : UNTOUCHED;
            require(*at(&context, r, c) == want,
                    "scheme %d, tokens %ld dim %ld head %ld: (%ld, %ld) is %04x, not %04x", scheme,
                    tokens, dim, head, r, c, *at(&context, r, c), want);
        }
    guard_free(scratch);
    guard_free(out);
    guard_free(context.bf16);
    both_free(&floats, &blocks);
}

START_TEST(attention_reads_and_writes_blocks)
{
    static const long tokens[] = {1, 2, 15, 16, 17, 31, 33, 49, 70};
    static const long dims[] = {1, 8, 12, 24, 32, 40, 64, 96};
    struct kern_table table;
    for (int scheme = 0; scheme < KERN_SCHEMES; scheme++)
        for (long t = 0; t < COUNT(tokens) && has_blocks(&table, _i, (enum kern_scheme)scheme); t++)
            for (long d = 0; d < COUNT(dims); d++)
                for (long head = 0; head < 3; head++)
                    check_attention(&table, (enum kern_scheme)scheme, tokens[t], dims[d], head);
}
END_TEST

static void add(TCase *tests)
{
    add_level_test(tests, products_write_blocks);
    add_level_test(tests, gelu_into_blocks_is_within_its_bound);
    add_level_test(tests, products_read_blocks);
    add_level_test(tests, quantising_reads_blocks);
    add_level_test(tests, normalising_reads_blocks);
    add_level_test(tests, attention_reads_and_writes_blocks);
}

int main(void)
{
    return run_kernel_tests("blocks", add);
}

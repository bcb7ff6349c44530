/* kernels.h: the arithmetic of an encoder, as a table of functions on pointers.
 *
 * Nothing here can fail, allocates, or starts a thread: a caller splits work into row and panel ranges and gives every
 * thread its own. scalar.c is the specification; every other file computes the same thing with one instruction set.
 *
 * Rules that hold for every function of the table:
 *   - Buffers do not overlap unless a comment says that they may.
 *   - The order in which products are summed depends on k alone, never on how many rows or panels a call has (the
 *     OpenBLAS product is the exception), so the same row gives the same bits whatever else is computed beside it.
 *   - INT8 and INT7 products are bit-exact: every level that has the scheme gives the same bytes as scalar.c, for
 *     KERN_IDENTITY. Float products keep |error| <= k * 2^-24 * sum |x||w| against exact arithmetic, BF16 products the
 *     same bound against exact arithmetic on the rounded values. Rounding to bf16 is bit-exact.
 *   - An INT8 or INT7 product has k <= 32768, so that its sums stay inside 32 bits.
 *   - Rows, columns and depth are as long as the arguments say, any value from 1 up; buffers need no alignment beyond
 *     that of their type, but 64 bytes is fastest. Widths named "padded" are rounded up to KERN_PANEL.
 */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
    KERN_PANEL = 16,     /* output columns of one weight panel */
    KERN_Q8_ALIGN = 64,  /* quantised rows and their weights are padded to this many values of k */
    KERN_BF16_ALIGN = 32 /* the same for bf16 rows and their weights */
};

/* From the slowest to the fastest of each architecture; each runs on every CPU of its own that has what the one above it
 * needs. KERN_OPENBLAS computes float products with OpenBLAS and everything else with the machine's best instructions. */
enum kern_level {
    KERN_SCALAR,
    KERN_OPENBLAS,
    KERN_NEON,    /* arm64: NEON, which every such CPU has */
    KERN_DOTPROD, /* arm64: INT8 with the dot products of Armv8.2 */
    KERN_AVX2,    /* x86-64: AVX2, FMA, F16C; INT7 */
    KERN_AVX512,  /* AVX-512 F, BW, VL, DQ; INT8 and INT7 as AVX2 */
    KERN_VNNI,    /* AVX-512 VNNI */
    KERN_AMX,     /* AMX tiles for INT8 and BF16; SPLIT_BF16 */
    KERN_LEVELS
};

/* How the weights of a product are held and its arithmetic done.
 *
 * A float rounds to bf16 (its upper 16 bits) as vcvtneps2bf16 does: to nearest, ties to even; a denormal becomes a zero
 * of its sign; a NaN stays one, made quiet. */
enum kern_scheme {
    KERN_F32,  /* float weights, float arithmetic */
    KERN_BF16, /* bf16 weights and activations, products added up in float */
    KERN_INT8, /* s8 weights with a scale per column, u8 activations with a scale and zero point per row */
    /* Weights and activations as two bf16 each, hi = bf16(x) and lo = bf16(x - hi), and three of their four products,
     * hi hi + hi lo + lo hi, added up in float: nearly float arithmetic with bf16 instructions. Where the activations have
     * bf16_last, two products more, lo lo + last hi: weights of half precision, which hi + lo holds exactly, then give what
     * float gives. */
    KERN_SPLIT_BF16,
    /* For levels whose integer instructions add up in 16 bits: u7 activations, which have a scale and zero point per row
     * and block of KERN_INT7_BLOCK k to make up for the bit; weights as INT8, limited (kern_table.limit_s8) so that eight
     * products can be added in 16 bits. */
    KERN_INT7,
    /* Float activations and arithmetic on weights that stay as a file holds them, where reading them is what takes the
     * time. F16: half precision; the bits of KERN_F32 on the same values. S8: s8 with a scale per column, which the sum
     * of products is multiplied by. */
    KERN_F16,
    KERN_S8,
    KERN_SCHEMES
};

/* The largest quantised activation of a scheme. */
enum { KERN_INT8_MAX = 255, KERN_INT7_MAX = 127 };
enum {
    KERN_INT7_BLOCK = 96,    /* k that share a scale and a zero point */
    KERN_INT7_GROUP = 16,    /* k whose products add up in two lanes of 16 bits */
    KERN_INT7_LANE_MAX = 258 /* 127 * 258 < 2^15 */
};

/* A column is not scaled down further for the sake of few large weights. */
#define KERN_INT7_LEAST_FACTOR 0.6f

/* Blocks of a row, or column, of k values with its padding. A block of nothing else has scale 1 and zero point 0. */
static inline long kern_int7_blocks(long k)
{
    const long padded = (k + KERN_Q8_ALIGN - 1) / KERN_Q8_ALIGN * KERN_Q8_ALIGN;
    return (padded + KERN_INT7_BLOCK - 1) / KERN_INT7_BLOCK;
}

/* Whether a scheme's activations are quantised. */
static inline int kern_is_quantised(enum kern_scheme scheme)
{
    return scheme == KERN_INT8 || scheme == KERN_INT7;
}

/* kern_rows.q8_max of a quantised scheme. */
static inline int kern_q8_max(enum kern_scheme scheme)
{
    return scheme == KERN_INT7 ? KERN_INT7_MAX : KERN_INT8_MAX;
}

/* kern_rows.scale_stride of a scheme for rows of k values, and the column sums that a column of such a k has. */
static inline long kern_scale_blocks(enum kern_scheme scheme, long k)
{
    return scheme == KERN_INT7 ? kern_int7_blocks(k) : 1;
}

/* What is done to a product's sum plus bias before it is stored. */
enum kern_epilogue {
    KERN_IDENTITY,
    /* x * Phi(x) by erf; |error| <= 5e-7 on every level, and <= 1e-5 before it is rounded into KERN_BLOCKS */
    KERN_GELU
};

/* What the products and the attention of a scheme write, and so what lies between the parts of a layer. */
enum kern_form {
    KERN_FLOATS, /* f32 */
    /* bf16 in whole blocks of KERN_BF16_ALIGN columns, without f32: half the bytes, and a tile of activations as it lies. What
     * is written is the float (for KERN_GELU within its bound), rounded; what would be read of f32 is read of bf16. */
    KERN_BLOCKS
};

/* A matrix of activations, (rows, columns), in the forms its readers want. f32 is there unless the matrix is in the form
 * KERN_BLOCKS. q8, scale and zero are NULL unless an INT8 or INT7 product reads the matrix: value c of row r is
 * s * (q8 - z), with s and z the row's scale and zero, for INT7 those of block c / KERN_INT7_BLOCK. bf16 is NULL unless the
 * matrix has no f32 or a BF16 or SPLIT_BF16 product reads it, bf16_low unless a SPLIT_BF16 product does, bf16_last unless
 * that is to have float's accuracy. */
struct kern_rows {
    float *f32;
    long stride; /* floats from one row of f32 to the next */
    uint8_t *q8; /* in the level's own order: written by prepare or add_norm, read by gemm */
    /* Bytes of one row of q8: columns rounded up to KERN_Q8_ALIGN, and never a multiple of 4096. */
    long q8_stride;
    int q8_max; /* largest quantised value: KERN_INT8_MAX or KERN_INT7_MAX, as the product's scheme says */
    long
        scale_stride; /* scales of one row, and zero points: 1 for INT8, one for each KERN_INT7_BLOCK for INT7 */
    float *scale;   /* (rows, scale_stride) */
    int32_t *zero;  /* (rows, scale_stride), 0..q8_max */
    uint16_t *bf16; /* (rows, columns rounded up to KERN_BF16_ALIGN), written and read as q8 is */
    uint16_t *bf16_low;  /* the same: what rounding to bf16 left over, bf16(f32 - bf16), or 0 */
    uint16_t *bf16_last; /* the same: what that left over, bf16(f32 - bf16 - bf16_low), or 0 */
    long bf16_stride;    /* values from one row of bf16, bf16_low and bf16_last to the next */
    /* Values from one KERN_BF16_ALIGN columns to the next: as many, but in the form KERN_BLOCKS, where any distance will do.
     * (row, column) is bf16[column / KERN_BF16_ALIGN * bf16_block + row * bf16_stride + column % KERN_BF16_ALIGN]. */
    long bf16_block;
};

/* Whether a product of the scheme reads bf16 that another product has written, so that there is nothing to prepare. */
static inline int kern_rows_ready(const struct kern_rows *rows, enum kern_scheme scheme)
{
    return scheme == KERN_BF16 && !rows->f32;
}

/* The rows and columns of a matrix from here on. */
struct kern_part {
    const struct kern_rows *rows;
    long row, column;
};

/* A packed weight matrix (n, k) and what is added to its products. Columns n..padded n have zero weights, bias, scale and
 * column sum. */
struct kern_weights {
    enum kern_scheme scheme;
    long n, k;
    /* F32: (n/16, k, 16) float, or as the level's pack_floats says; BF16: (n/16, k/2, 16, 2) bf16 with k padded to 32;
     * SPLIT_BF16: (n/16, 2, k/2, 16, 2), in each panel the hi values and then the lo values; INT8: (n/16, k/4, 16, 4)
     * s8 with k padded to 64; INT7 alike; F16: (n/16, k, 16) half; S8: (n/16, k, 16) s8. */
    const void *panels;
    const float *bias;  /* (padded n) */
    const float *scale; /* (padded n), INT8, INT7 and S8 only */
    const int32_t
        *column_sum; /* the s8 weights added up: INT8 (padded n), over k; INT7 (n/16, blocks, 16) */
};

/* y[m0..m1, 16*p0..16*p1] = epilogue(x W^T + bias). y is (rows, padded n) and not x. At levels with the form KERN_BLOCKS y may
 * be NULL: then the bf16 of `blocks` is written. */
struct kern_gemm {
    const struct kern_rows *x;
    const struct kern_weights *w;
    float *y;
    long y_stride;
    const struct kern_rows *blocks;
    long m0, m1; /* rows */
    long p0, p1; /* panels */
    enum kern_epilogue epilogue;
};

/* Self-attention of queries q0..q1 of one text and one head: out = softmax(scale * Q K^T) V.
 *
 * Levels with tiles compute it for KERN_BF16 and KERN_INT8 on queries, keys, values and softmax weights rounded to bf16
 * (relative error 3e-3 to 5e-3 of the answers), and for KERN_SPLIT_BF16 with each of them as hi + lo and all four
 * products (1e-5); all else is computed in float. */
struct kern_attention {
    const float *q, *k, *v; /* (tokens, dim), rows stride floats apart */
    long stride;
    float *out; /* (tokens, dim): rows q0..q1 are written */
    long out_stride;
    /* In place of all these where q is NULL, for a scheme of the form KERN_BLOCKS. */
    struct kern_part q_part, k_part, v_part, out_part;
    long tokens, dim;
    long q0, q1;
    float scale;   /* positive */
    void *scratch; /* kern_table.attention_scratch[scheme](tokens, dim) bytes, aligned to 64 */
};

/* y[m0..m1] = LayerNorm(x + residual) * gamma + beta over `width` columns; eps is added to the variance (mean of squares
 * about the mean). residual may be NULL, and without f32 at levels with the form KERN_BLOCKS; y->f32 may be x or that of
 * residual. Every form of y that is set is written too, exactly as prepare
 * would. */
struct kern_norm {
    const float *x;
    long x_stride;
    const struct kern_rows *residual;
    const float *gamma, *beta; /* (width) */
    float eps;
    long width;
    struct kern_rows *y;
    long m0, m1;
};

/* out[i] = query . row i, for n rows of k values each, held as KERN_F32, KERN_F16 or KERN_S8 says: a search through vectors.
 * |error| <= k * 2^-24 * sum |query||row| (and 2^-24 of the answer more for KERN_S8). The bits of an answer depend on the
 * row and the query alone. */
struct kern_scan {
    const float *query;
    const void *rows;
    long stride; /* values from one row to the next */
    const float
        *scale; /* (n), KERN_S8 only: the sum of row i's products is multiplied by scale[i] */
    long k, n;
    float *out; /* (n) */
};

struct kern_table {
    enum kern_level level;
    const char *name; /* of the level, as DISTILD_CPU spells it */
    /* INT7 where it is the faster of the two, at a cost in accuracy; else INT8. */
    enum kern_scheme fast_int8;
    int panel_group; /* panels that gemm likes at a time: split work at multiples of it */
    int query_group; /* the same of a text's queries, for attention */

    enum kern_form form[KERN_SCHEMES]; /* the best; KERN_FLOATS will do everywhere */

    /* NULL for a scheme that the level does not have. */
    void (*gemm[KERN_SCHEMES])(const struct kern_gemm *job);

    /* Writes what a scheme's product reads of rows m0..m1, `width` columns each, of rows->f32. NULL for KERN_F32, KERN_F16
     * and KERN_S8: there is nothing to do.
     *
     * KERN_BF16 and KERN_SPLIT_BF16: bf16, and bf16_low and bf16_last where they are set; the padding is 0.
     *
     * KERN_INT8 (q8_max 255; at levels with the form KERN_BLOCKS from bf16 too), and KERN_INT7 (q8_max 127) for each block
     * by itself: q8, scale and zero, where
     *   lo = min(0, min x), hi = max(0, max x), scale = (hi - lo) / q8_max (1 where that is 0, denormal or not finite),
     *   zero = rint(-lo / scale), q = clamp(rint(x * (1 / scale)) + zero, 0, q8_max); the padding is 0. */
    void (*prepare[KERN_SCHEMES])(const struct kern_table *table, struct kern_rows *rows,
                                  long width, long m0, long m1);
    void (*add_norm)(const struct kern_table *table, const struct kern_norm *job);
    void (*attention[KERN_SCHEMES])(const struct kern_attention *job);
    size_t (*attention_scratch[KERN_SCHEMES])(long tokens, long dim);
    void (*gelu)(float *x, long n);                          /* in place */
    void (*scan[KERN_SCHEMES])(const struct kern_scan *job); /* NULL but for F32, F16 and S8 */

    /* Packing. `rows` are 16 pointers to k weights each, one an output column, NULL for a column of padding. */
    size_t (*panel_bytes[KERN_SCHEMES])(long k); /* of one packed panel */
    /* From float weights; NULL for KERN_INT8, KERN_INT7, KERN_F16 and KERN_S8. */
    void (*pack_floats[KERN_SCHEMES])(void *panel, const float *const rows[KERN_PANEL], long k);
    /* From half-precision weights, for KERN_F16. */
    void (*pack_f16)(void *panel, const uint16_t *const rows[KERN_PANEL], long k);
    /* From s8 weights, for KERN_INT8 and KERN_INT7, whose column_sum is the panel's, and for KERN_S8, which has none. */
    void (*pack_s8[KERN_SCHEMES])(void *panel, int32_t *column_sum,
                                  const int8_t *const rows[KERN_PANEL], long k);
    /* For KERN_INT7: makes the k weights of a column such that, of every KERN_INT7_GROUP k, neither the positive nor the
     * negative ones among weights 0, 1, 4, 5 and so on, or 2, 3, 6, 7 and so on, add up to more than KERN_INT7_LANE_MAX. A
     * column that has such a sum is scaled down; where that is by more than KERN_INT7_LEAST_FACTOR for the sake of few, these
     * few are cut instead.
     * Returns what the column's scale is to be multiplied by. */
    float (*limit_s8)(int8_t *q, long k);
    /* q = rint(w / scale), scale = max |w| / 127; returns scale, and 0 for a row of zeros. */
    float (*quantise_weights)(int8_t *q, const float *w, long k);
    void (*f16_to_f32)(float *out, const uint16_t *in, long n);
    void (*bf16_to_f32)(float *out, const uint16_t *in, long n);
    void (*s8_to_f32)(float *out, const int8_t *in, float scale, long n); /* out = scale * in */
};

/* The best level that this CPU and operating system allow (AVX state enabled in XCR0). */
enum kern_level kern_best_level(void);
/* Whether a level is one of this architecture's, though this CPU may lack it. */
int kern_level_native(enum kern_level level);
/* Whether a level can run here. KERN_SCALAR and KERN_OPENBLAS always can. */
int kern_level_available(enum kern_level level);
/* The level's name in lower case, as DISTILD_CPU takes it; NULL outside the enum. */
const char *kern_level_name(enum kern_level level);
/* Looks a name up; KERN_LEVELS where there is none. */
enum kern_level kern_level_from_name(const char *name);
/* Fills the table for a level, which must be available: the specification, overlaid with what each level up to it adds.
 * Also pins OpenBLAS to one thread per caller, since parallelism belongs to the caller. */
void kern_table_init(struct kern_table *table, enum kern_level level);

#endif

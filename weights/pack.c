#include "weights/pack.h"

#include <stdbool.h>
#include <string.h>

static long padded(long n, long unit)
{
    return (n + unit - 1) / unit * unit;
}

static long job_rows(const struct weights_pack_job *job)
{
    long n = 0;
    for (int i = 0; i < job->part_count; i++)
        n += job->parts[i]->weight.rows;
    return n;
}

static long job_columns(const struct weights_pack_job *job)
{
    return job->parts[0]->weight.cols;
}

long weights_pack_panels(const struct weights_pack_job *job)
{
    return padded(job_rows(job), KERN_PANEL) / KERN_PANEL;
}

static size_t panels_bytes(const struct weights_pack_job *job)
{
    size_t panel = job->table->panel_bytes[job->scheme](job_columns(job));
    return (size_t)padded((long)(panel * (size_t)weights_pack_panels(job)), 64);
}

/* Whether a scheme's weights are s8. */
static bool has_scales(enum kern_scheme scheme)
{
    return kern_is_quantised(scheme) || scheme == KERN_S8;
}

/* Column sums of a panel, in panels. */
static size_t sum_blocks(const struct weights_pack_job *job)
{
    return (size_t)kern_scale_blocks(job->scheme, job_columns(job));
}

size_t weights_pack_bytes(const struct weights_pack_job *job)
{
    /* bias, scale and column sums: vectors of four-byte values. */
    size_t vectors = (2 + sum_blocks(job)) * KERN_PANEL * (size_t)weights_pack_panels(job);
    return panels_bytes(job) + sizeof(float) * vectors;
}

enum kern_scheme weights_held_scheme(const struct weights_pack_job *job)
{
    enum weights_dtype dtype = job->parts[0]->weight.dtype;
    enum kern_scheme held = dtype == WEIGHTS_F16  ? KERN_F16
                            : dtype == WEIGHTS_I8 ? KERN_S8
                                                  : KERN_F32;
    for (int i = 1; i < job->part_count; i++)
        if (job->parts[i]->weight.dtype != dtype)
            return KERN_F32;
    return job->table->gemm[held] ? held : KERN_F32;
}

void weights_pack_begin(const struct weights_pack_job *job, void *memory)
{
    size_t length = KERN_PANEL * (size_t)weights_pack_panels(job);
    float *vectors = (float *)((char *)memory + panels_bytes(job));
    *job->packed = (struct kern_weights){
        .scheme = job->scheme,
        .n = job_rows(job),
        .k = job_columns(job),
        .panels = memory,
        .bias = vectors,
    };
    if (has_scales(job->scheme)) {
        job->packed->scale = vectors + length;
        job->packed->column_sum = (const int32_t *)(const void *)(vectors + 2 * length);
    }
}

size_t weights_pack_scratch(long k)
{
    return (size_t)padded(k, 64) * KERN_PANEL * (sizeof(float) + sizeof(int8_t));
}

const float *weights_row(const struct weights_tensor *tensor, long row,
                         const struct kern_table *table, float *out)
{
    long at = row * tensor->cols;
    switch (tensor->dtype) {
    case WEIGHTS_F32:
        return (const float *)tensor->data + at;
    case WEIGHTS_F16:
        table->f16_to_f32(out, (const uint16_t *)tensor->data + at, tensor->cols);
        break;
    case WEIGHTS_BF16:
        table->bf16_to_f32(out, (const uint16_t *)tensor->data + at, tensor->cols);
        break;
    case WEIGHTS_I8:
        table->s8_to_f32(out, (const int8_t *)tensor->data + at, tensor->scale[row], tensor->cols);
        break;
    }
    return out;
}

/* The linear layer that holds row *n of the stack; *n becomes the row within it. NULL for a row of
 * padding. */
static const struct weights_linear *find_part(const struct weights_pack_job *job, long *n)
{
    for (int i = 0; i < job->part_count; i++) {
        if (*n < job->parts[i]->weight.rows)
            return job->parts[i];
        *n -= job->parts[i]->weight.rows;
    }
    return NULL;
}

/* Row n of a part as s8, in the tensor's own memory or in `bytes` (k), and its scale; `floats` (k) is scratch. */
static const int8_t *quantised_row(const struct weights_pack_job *job,
                                   const struct weights_linear *part, long n, int8_t *bytes,
                                   float *floats, float *scale)
{
    const struct weights_tensor *tensor = &part->weight;
    const long k = tensor->cols;
    if (tensor->dtype != WEIGHTS_I8) {
        const float *row = weights_row(tensor, n, job->table, floats);
        *scale = job->table->quantise_weights(bytes, row, k);
    } else {
        const int8_t *row = (const int8_t *)tensor->data + n * k;
        *scale = tensor->scale[n];
        if (job->scheme != KERN_INT7)
            return row;
        memcpy(bytes, row, (size_t)k);
    }
    if (job->scheme == KERN_INT7)
        *scale *= job->table->limit_s8(bytes, k);
    return bytes;
}

void weights_pack_panel(const struct weights_pack_job *job, long p, void *scratch)
{
    const struct kern_table *table = job->table;
    long k = job_columns(job);
    float *floats = scratch;
    int8_t *bytes = (int8_t *)(floats + KERN_PANEL * padded(k, 64));
    const float *float_rows[KERN_PANEL] = {0};
    const int8_t *byte_rows[KERN_PANEL] = {0};
    const uint16_t *half_rows[KERN_PANEL] = {0};
    float bias[KERN_PANEL] = {0}, scale[KERN_PANEL] = {0};

    for (int j = 0; j < KERN_PANEL; j++) {
        long n = p * KERN_PANEL + j;
        const struct weights_linear *part = find_part(job, &n);
        if (!part)
            continue;
        if (part->bias.data)
            bias[j] = ((const float *)part->bias.data)[n];
        if (job->scheme == KERN_F16)
            half_rows[j] = (const uint16_t *)part->weight.data + n * k;
        else if (has_scales(job->scheme))
            byte_rows[j] = quantised_row(job, part, n, bytes + j * padded(k, 64),
                                         floats + j * padded(k, 64), &scale[j]);
        else
            float_rows[j] = weights_row(&part->weight, n, table, floats + j * padded(k, 64));
    }

    /* The job owns this memory, though readers see it as constant. */
    struct kern_weights *packed = job->packed;
    char *panel =
        (char *)(uintptr_t)packed->panels + (size_t)p * table->panel_bytes[job->scheme](k);
    memcpy((float *)(uintptr_t)packed->bias + p * KERN_PANEL, bias, sizeof bias);
    if (job->scheme == KERN_F16) {
        table->pack_f16(panel, half_rows, k);
    } else if (has_scales(job->scheme)) {
        int32_t *column_sum =
            (int32_t *)(uintptr_t)packed->column_sum + (size_t)p * sum_blocks(job) * KERN_PANEL;
        table->pack_s8[job->scheme](panel, column_sum, byte_rows, k);
        memcpy((float *)(uintptr_t)packed->scale + p * KERN_PANEL, scale, sizeof scale);
    } else {
        table->pack_floats[job->scheme](panel, float_rows, k);
    }
}

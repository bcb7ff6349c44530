#include "engine/session.h"

#include <stdlib.h>

#include "engine/cpus.h"
#include "engine/memory.h"

enum { PAGE = 4096 };

/* Hands out pieces of one block. Walked twice: with base NULL it only adds up sizes. */
struct arena {
    char *base;
    size_t used;
};

static void *take(struct arena *arena, size_t count, size_t size)
{
    void *piece = arena->base ? arena->base + arena->used : NULL;
    arena->used += (count * size + 63) / 64 * 64;
    return piece;
}

/* A row length in bytes that does not send all rows to the same cache sets. */
static long spread(long bytes)
{
    return bytes % 1024 == 0 ? bytes + 64 : bytes;
}

static struct kern_rows take_rows(struct arena *arena, long rows, long columns)
{
    long padded = (columns + KERN_PANEL - 1) / KERN_PANEL * KERN_PANEL;
    long bytes = spread(padded * (long)sizeof(float));
    return (struct kern_rows){
        .f32 = take(arena, (size_t)rows, (size_t)bytes),
        .stride = bytes / (long)sizeof(float),
    };
}

/* Rows of a block of columns: an odd number, so that the blocks of one row do not all fall into the same cache sets. */
static long block_rows(long rows)
{
    return rows | 1;
}

/* How matrices between the parts of a layer are held: as the level wants, where they consist of whole blocks. */
static enum kern_form form_between(const distil_model *model)
{
    int whole = model->info.hidden % KERN_BF16_ALIGN == 0 && model->info.ffn % KERN_BF16_ALIGN == 0;
    return whole ? model->kernels.form[model->scheme] : KERN_FLOATS;
}

static struct kern_rows take_between(struct arena *arena, enum kern_form form, long rows,
                                     long columns)
{
    long blocks = (columns + KERN_BF16_ALIGN - 1) / KERN_BF16_ALIGN;
    if (form == KERN_FLOATS)
        return take_rows(arena, rows, columns);
    return (struct kern_rows){
        .bf16 =
            take(arena, (size_t)(blocks * block_rows(rows)), KERN_BF16_ALIGN * sizeof(uint16_t)),
        .bf16_stride = KERN_BF16_ALIGN,
        .bf16_block = KERN_BF16_ALIGN * block_rows(rows),
    };
}

/* What the products of a scheme read of (rows, columns), besides the floats. */
static struct kern_rows take_prepared(struct arena *arena, enum kern_scheme scheme, long rows,
                                      long columns)
{
    struct kern_rows prepared = {.bf16_block = KERN_BF16_ALIGN};
    if (kern_is_quantised(scheme)) {
        long bytes = spread((columns + KERN_Q8_ALIGN - 1) / KERN_Q8_ALIGN * KERN_Q8_ALIGN);
        prepared.q8 = take(arena, (size_t)rows, (size_t)bytes);
        prepared.q8_stride = bytes;
        prepared.q8_max = kern_q8_max(scheme);
        prepared.scale_stride = kern_scale_blocks(scheme, columns);
        size_t scales = (size_t)(rows * prepared.scale_stride);
        prepared.scale = take(arena, scales, sizeof(float));
        prepared.zero = take(arena, scales, sizeof(int32_t));
    } else if (scheme == KERN_BF16 || scheme == KERN_SPLIT_BF16) {
        long padded = (columns + KERN_BF16_ALIGN - 1) / KERN_BF16_ALIGN * KERN_BF16_ALIGN;
        long bytes = spread(padded * (long)sizeof(uint16_t));
        prepared.bf16 = take(arena, (size_t)rows, (size_t)bytes);
        prepared.bf16_stride = bytes / (long)sizeof(uint16_t);
        if (scheme == KERN_SPLIT_BF16)
            prepared.bf16_low = take(arena, (size_t)rows, (size_t)bytes);
    }
    return prepared;
}

/* The strides are the same for all, so that a row has one place whatever matrix it belongs to:
 * threads that keep to their own rows then never touch another's. */
static void share_prepared(struct kern_rows *rows, const struct kern_rows *prepared)
{
    const struct kern_rows own = *rows;
    *rows = *prepared;
    rows->f32 = own.f32;
    rows->stride = own.stride;
    if (own.bf16) {
        rows->bf16 = own.bf16;
        rows->bf16_stride = own.bf16_stride;
        rows->bf16_block = own.bf16_block;
    }
}

/* For so many rows. */
static void take_workspace(struct arena *arena, const distil_model *model, long tokens,
                           struct engine_workspace *work)
{
    const distil_info *info = &model->info;
    long widest = info->ffn > info->hidden ? info->ffn : info->hidden;
    enum kern_form form = form_between(model);
    work->x = take_rows(arena, tokens, info->hidden);
    work->qkv = take_between(arena, form, tokens, 3L * info->hidden);
    work->context = take_between(arena, form, tokens, info->hidden);
    work->y = take_between(arena, form, tokens, info->hidden);
    work->inner = take_between(arena, form, tokens, info->ffn);
    work->pooled = take_rows(arena, tokens, info->hidden);
    work->logits = take_rows(arena, tokens, info->label_count ? info->label_count : 1);
    const struct kern_rows prepared = take_prepared(arena, model->scheme, tokens, widest);
    share_prepared(&work->x, &prepared);
    /* What a softmax or a GELU follows moves the answers most: the products that read the residual stream leave nothing out. */
    if (model->scheme == KERN_SPLIT_BF16)
        work->x.bf16_last =
            take(arena, (size_t)tokens, (size_t)prepared.bf16_stride * sizeof *work->x.bf16_last);
    share_prepared(&work->context, &prepared);
    share_prepared(&work->inner, &prepared);
}

/* What stays in its place whatever the chunk is. */
static void take_fixed(struct arena *arena, distil_session *session)
{
    const distil_model *model = session->model;
    const distil_info *info = &model->info;
    struct engine_workspace *work = &session->work;
    struct engine_chunk *chunk = &session->chunk;
    size_t count = (size_t)session->capacity;
    work->scratch_size =
        model->kernels.attention_scratch[model->scheme](info->window, info->hidden / info->heads);
    work->scratch_size = (work->scratch_size + 63) / 64 * 64;
    work->scratch = take(arena, (size_t)engine_team_threads(session->team), work->scratch_size);
    chunk->ids = take(arena, count, sizeof *chunk->ids);
    chunk->positions = take(arena, count, sizeof *chunk->positions);
    chunk->types = take(arena, count, sizeof *chunk->types);
    chunk->start = take(arena, count + 1, sizeof *chunk->start);
    chunk->first_task = take(arena, count + 1, sizeof *chunk->first_task);
}

void engine_session_fit(distil_session *session, long rows)
{
    struct arena arena = {.base = session->memory, .used = session->fixed_size};
    take_workspace(&arena, session->model, rows, &session->work);
}

/* Tokens of several texts that are computed together. The activations of more leave the caches; fewer would do where
 * the weights did not have to be read again for each chunk. Weights that stay in the last-level cache cost
 * little to read: int8 of MiniLM was fastest with 128 to 256 tokens a thread, by 3 to 5% (AMD Zen 4). */
static long chunk_tokens(const distil_model *model, int threads)
{
    enum { MOST = 1024, EACH = 256, CACHED_BYTES = 16 << 20 };
    const distil_info *info = &model->info;
    long hidden = info->hidden, encoder = info->layers * hidden * (4 * hidden + 2L * info->ffn);
    bool cached = kern_is_quantised(model->scheme) && encoder <= CACHED_BYTES;
    return cached && threads < MOST / EACH ? (long)threads * EACH : MOST;
}

distil_status distil_session_create(const distil_model *model, int threads, distil_session **out,
                                    distil_error *error)
{
    distil_session *session = calloc(1, sizeof *session);
    struct arena arena = {0};
    distil_status status;

    *out = NULL;
    if (!session)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for a session");
    session->model = model;
    status = engine_team_create(&session->team, threads ? threads : engine_cpu_count(), error);
    if (status)
        goto fail;
    session->chunk_tokens = chunk_tokens(model, engine_team_threads(session->team));
    session->capacity =
        model->info.window > session->chunk_tokens ? model->info.window : session->chunk_tokens;
    for (int pass = 0; pass < 2; pass++) {
        arena.used = 0;
        take_fixed(&arena, session);
        if (pass)
            break;
        /* off a page boundary, products of 512 rows took 2 to 3% longer (AMD Zen 4) */
        arena.used = session->fixed_size = (arena.used + PAGE - 1) / PAGE * PAGE;
        take_workspace(&arena, model, session->capacity, &session->work);
        session->memory_size = arena.used;
        session->memory = arena.base = engine_memory_map(arena.used);
        if (!arena.base) {
            status = distil_fail(error, DISTIL_NO_MEMORY, "no memory for a session of %zu bytes",
                                 arena.used);
            goto fail;
        }
    }
    session->batch_logits =
        calloc(ENGINE_PREDICT_BATCH, sizeof(float) * (size_t)(model->info.label_count + 1));
    if (!session->batch_logits) {
        status = distil_fail(error, DISTIL_NO_MEMORY, "no memory for a session's logits");
        goto fail;
    }
    *out = session;
    return DISTIL_OK;

fail:
    distil_session_free(session);
    return status;
}

void distil_session_free(distil_session *session)
{
    if (!session)
        return;
    engine_team_free(session->team);
    engine_memory_unmap(session->memory, session->memory_size);
    for (int i = 0; i < ENGINE_PREDICT_BATCH; i++)
        distil_tokens_free(session->batch_tokens[i]);
    free(session->batch_logits);
    free(session);
}

int distil_session_threads(const distil_session *session)
{
    return engine_team_threads(session->team);
}

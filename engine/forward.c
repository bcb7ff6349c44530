/* The forward pass, in the terms of the paper: T tokens of B texts in one ragged matrix, D hidden,
 * H heads of D/H columns, F feed-forward. Every thread of the team runs every function here, takes
 * its share, and meets the others where the next step reads what they wrote. */
#include "engine/forward.h"

#include <math.h>
#include <string.h>

#include "engine/trace.h"
#include "weights/pack.h"

enum {
    ROW_SPLIT = 512, /* tokens from which a thread keeps to its own rows; with fewer, threads share
                         out columns */
    ROW_UNIT = 8     /* rows of a kernel's tile: shares are multiples of it */
};

struct run {
    distil_session *s;
    const distil_model *model;
    enum engine_output output;
    int thread, threads;
    int layer;   /* -1 outside the layers */
    long rows;   /* of the matrices now: T, or B once only first tokens count */
    long m0, m1; /* this thread's rows */
    bool by_rows;
};

/* The bounds of share i of n among count, in whole units. */
static long share(long n, long unit, int i, int count)
{
    long units = (n + unit - 1) / unit;
    long at = units * i / count * unit;
    return at < n ? at : n;
}

static void set_rows(struct run *r, long rows)
{
    r->rows = rows;
    r->by_rows = rows >= ROW_SPLIT;
    r->m0 = share(rows, ROW_UNIT, r->thread, r->threads);
    r->m1 = share(rows, ROW_UNIT, r->thread + 1, r->threads);
}

static double clock_of(const struct run *r)
{
    return engine_trace_now(r->s->trace);
}

static void trace(const struct run *r, enum engine_operator op, double start, double operations,
                  double bytes)
{
    engine_trace_add(
        r->s->trace, r->thread,
        (struct engine_span){
            .op = op, .layer = r->layer, .start = start, .operations = operations, .bytes = bytes});
}

/* All threads have done what came before. */
static void meet(const struct run *r)
{
    double start = clock_of(r);
    engine_team_barrier(r->s->team);
    trace(r, ENGINE_OP_WAIT, start, 0, 0);
}

/* The next step reads other threads' work only where columns are shared out. */
static void step(const struct run *r)
{
    if (!r->by_rows)
        meet(r);
}

/* y[rows, 16*p0..16*p1] = epilogue(x W^T + b) */
static void product(const struct run *r, enum engine_operator op, const struct kern_rows *x,
                    const struct kern_weights *w, long p0, long p1, enum kern_epilogue epilogue,
                    const struct kern_rows *y)
{
    const struct kern_table *kernels = &r->model->kernels;
    double start = clock_of(r);
    struct kern_gemm job = {
        .x = x,
        .w = w,
        .y = y->f32,
        .y_stride = y->stride,
        .blocks = y,
        .m0 = 0,
        .m1 = r->rows,
        .p0 = p0,
        .p1 = p1,
        .epilogue = epilogue,
    };
    if (r->by_rows) {
        job.m0 = r->m0;
        job.m1 = r->m1;
    } else {
        job.p0 = p0 + share(p1 - p0, kernels->panel_group, r->thread, r->threads);
        job.p1 = p0 + share(p1 - p0, kernels->panel_group, r->thread + 1, r->threads);
    }
    if (job.m0 < job.m1 && job.p0 < job.p1)
        kernels->gemm[w->scheme](&job);
    double m = (double)(job.m1 - job.m0), n = (double)(KERN_PANEL * (job.p1 - job.p0));
    double weights = (double)kernels->panel_bytes[w->scheme](w->k) * n / KERN_PANEL;
    trace(r, op, start, 2 * m * n * (double)w->k, weights + 4 * m * (n + (double)w->k));
    step(r);
}

static long panels(long columns)
{
    return (columns + KERN_PANEL - 1) / KERN_PANEL;
}

/* x as the products with w read it; nothing to do where they read it as it is. */
static void prepare(const struct run *r, struct kern_rows *x, const struct kern_weights *w)
{
    const struct kern_table *kernels = &r->model->kernels;
    if (!kernels->prepare[w->scheme] || kern_rows_ready(x, w->scheme))
        return;
    double start = clock_of(r);
    kernels->prepare[w->scheme](kernels, x, w->k, r->m0, r->m1);
    trace(r, ENGINE_OP_PREPARE, start, 0, 5 * (double)(w->k * (r->m1 - r->m0)));
    step(r);
}

/* y = epilogue(x W^T + b) for an x that a normalisation left ready. */
static void linear(const struct run *r, enum engine_operator op, const struct kern_rows *x,
                   const struct kern_weights *w, enum kern_epilogue epilogue,
                   const struct kern_rows *y)
{
    product(r, op, x, w, 0, panels(w->n), epilogue, y);
}

/* x = LayerNorm(x + y), ready for the next product; y may be NULL. */
static void add_norm(const struct run *r, const struct kern_rows *y, const struct engine_norm *norm,
                     struct kern_rows *x)
{
    struct kern_norm job = {
        .x = x->f32,
        .x_stride = x->stride,
        .residual = y,
        .gamma = norm->gamma,
        .beta = norm->beta,
        .eps = r->model->weights->config.norm_eps,
        .width = r->model->info.hidden,
        .y = x,
        .m0 = r->m0,
        .m1 = r->m1,
    };
    double start = clock_of(r);
    if (job.m0 < job.m1)
        r->model->kernels.add_norm(&r->model->kernels, &job);
    trace(r, ENGINE_OP_NORM, start, 0, 12 * (double)(job.width * (job.m1 - job.m0)));
    step(r);
}

/* x (T, D) = LayerNorm(word[id] + position [+ token type]) */
static void embed(const struct run *r)
{
    const struct weights_model *weights = r->model->weights;
    const struct engine_chunk *chunk = &r->s->chunk;
    struct kern_rows *x = &r->s->work.x;
    const float *type = weights->token_type.data;
    long hidden = r->model->info.hidden;
    double start = clock_of(r);

    for (long m = r->m0; m < r->m1; m++) {
        float *to = x->f32 + m * x->stride;
        const float *word = weights_row(&weights->word, chunk->ids[m], &r->model->kernels, to);
        const float *position = r->model->position + chunk->positions[m] * hidden;
        for (long i = 0; i < hidden; i++)
            to[i] = word[i] + position[i];
        if (type && chunk->types[m])
            for (long i = 0; i < hidden; i++)
                to[i] += type[i];
    }
    trace(r, ENGINE_OP_EMBED, start, 0, 12 * (double)(hidden * (r->m1 - r->m0)));
    const struct engine_norm norm = {weights->embedding_norm.gamma.data,
                                     weights->embedding_norm.beta.data};
    add_norm(r, NULL, &norm, x);
}

/* Floats of a matrix from a row and column on; NULL where it has none. */
static float *floats_at(const struct kern_rows *rows, long row, long column)
{
    return rows->f32 ? rows->f32 + row * rows->stride + column : NULL;
}

/* One head of one text: its queries q0..q1, the first of them all being row `first` of q, and of context. */
static void attend(const struct run *r, const struct kern_rows *q, long first, long text, long head,
                   long q0, long q1)
{
    const struct engine_workspace *work = &r->s->work;
    const struct kern_rows *qkv = &work->qkv, *context = &work->context;
    const long *start = r->s->chunk.start;
    enum kern_scheme scheme = r->model->scheme;
    long hidden = r->model->info.hidden, dim = hidden / r->model->info.heads, column = head * dim;
    struct kern_attention job = {
        .q = floats_at(q, first, column),
        .k = floats_at(qkv, start[text], hidden + column),
        .v = floats_at(qkv, start[text], 2 * hidden + column),
        .stride = qkv->stride,
        .out = floats_at(context, first, column),
        .out_stride = context->stride,
        .q_part = {q, first, column},
        .k_part = {qkv, start[text], hidden + column},
        .v_part = {qkv, start[text], 2 * hidden + column},
        .out_part = {context, first, column},
        .tokens = start[text + 1] - start[text],
        .dim = dim,
        .q0 = q0,
        .q1 = q1,
        .scale = 1.0F / sqrtf((float)dim),
        .scratch = work->scratch + (size_t)r->thread * work->scratch_size,
    };
    double begin = clock_of(r), pairs = (double)((q1 - q0) * job.tokens);
    r->model->kernels.attention[scheme](&job);
    trace(r, ENGINE_OP_ATTENTION, begin, 4 * pairs * (double)dim,
          4 * (double)(dim * 2 * (job.tokens + q1 - q0)));
}

/* context (T, D) = softmax(Q K^T / sqrt(D/H)) V, per text and head; tasks go to threads as they
 * become free. */
static void attention(const struct run *r)
{
    const struct engine_workspace *work = &r->s->work;
    const struct engine_chunk *chunk = &r->s->chunk;
    long heads = r->model->info.heads, tasks = chunk->first_task[chunk->texts], text = 0;
    long group = r->model->kernels.query_group;

    for (long task; (task = engine_team_ticket(r->s->team)) < tasks;) {
        while (task >= chunk->first_task[text + 1])
            text++;
        long tokens = chunk->start[text + 1] - chunk->start[text];
        long index = task - chunk->first_task[text];
        long q0 = index / heads * group;
        long q1 = q0 + group < tokens ? q0 + group : tokens;
        attend(r, &work->qkv, chunk->start[text], text, index % heads, q0, q1);
    }
    meet(r);
}

/* context (B, D): the first token of each text alone, whose queries are rows of q. */
static void attention_of_first(const struct run *r, const struct kern_rows *q)
{
    long heads = r->model->info.heads, tasks = r->s->chunk.texts * heads;
    for (long task; (task = engine_team_ticket(r->s->team)) < tasks;) {
        attend(r, q, task / heads, task / heads, task % heads, 0, 1);
    }
    meet(r);
}

/* What follows attention, on r->rows rows: output projection, feed-forward, each joined to x and
 * normalised. */
static void rest_of_layer(const struct run *r, const struct engine_layer *layer)
{
    struct engine_workspace *work = &r->s->work;
    prepare(r, &work->context, &layer->output);
    linear(r, ENGINE_OP_OUTPUT, &work->context, &layer->output, KERN_IDENTITY, &work->y);
    add_norm(r, &work->y, &layer->attention_norm, &work->x);
    linear(r, ENGINE_OP_UP, &work->x, &layer->up, KERN_GELU, &work->inner);
    prepare(r, &work->inner, &layer->down);
    linear(r, ENGINE_OP_DOWN, &work->inner, &layer->down, KERN_IDENTITY, &work->y);
    add_norm(r, &work->y, &layer->output_norm, &work->x);
}

static void whole_layer(const struct run *r, const struct engine_layer *layer)
{
    struct engine_workspace *work = &r->s->work;
    linear(r, ENGINE_OP_QKV, &work->x, &layer->qkv, KERN_IDENTITY, &work->qkv);
    if (r->by_rows)
        meet(r);
    attention(r);
    rest_of_layer(r, layer);
}

/* The last layer where only first tokens are read: keys and values of all tokens, everything else
 * for B rows. */
static void first_token_layer(struct run *r, const struct engine_layer *layer)
{
    struct engine_workspace *work = &r->s->work;
    const struct engine_chunk *chunk = &r->s->chunk;
    long hidden = r->model->info.hidden;

    product(r, ENGINE_OP_QKV, &work->x, &layer->qkv, hidden / KERN_PANEL, panels(3 * hidden),
            KERN_IDENTITY, &work->qkv);
    if (r->by_rows)
        meet(r);
    /* First tokens move up to rows 0..B: start[b] >= b, so none is overwritten before it is moved.
     */
    if (r->thread == 0)
        for (long b = 1; b < chunk->texts; b++)
            memmove(work->x.f32 + b * work->x.stride,
                    work->x.f32 + chunk->start[b] * work->x.stride, (size_t)hidden * sizeof(float));
    meet(r);
    set_rows(r, chunk->texts);
    prepare(r, &work->x, &layer->qkv);
    product(r, ENGINE_OP_QKV, &work->x, &layer->qkv, 0, panels(hidden), KERN_IDENTITY, &work->y);
    if (r->by_rows)
        meet(r);
    attention_of_first(r, &work->y);
    rest_of_layer(r, layer);
}

static void activate(const struct run *r, struct kern_rows *y)
{
    long hidden = r->model->info.hidden;
    bool tanh_head = r->model->weights->config.head_activation == WEIGHTS_TANH;
    for (long m = r->m0; m < r->m1; m++) {
        float *row = y->f32 + m * y->stride;
        for (long i = 0; i < hidden; i++)
            row[i] = tanh_head ? tanhf(row[i]) : fmaxf(row[i], 0.0F);
    }
    step(r);
}

/* Whether the head reads embeddings, and not first tokens. */
static bool head_reads_embeddings(const struct run *r)
{
    return r->model->weights->config.head_input == WEIGHTS_HEAD_EMBEDDING;
}

/* logits (B, labels) from the first tokens' hidden states, rows 0..B of x, or from embeddings, pooled (B, D) */
static void classify(const struct run *r)
{
    struct engine_workspace *work = &r->s->work;
    struct kern_rows *pooled = head_reads_embeddings(r) ? &work->pooled : &work->x;
    if (r->model->head_dense.n) {
        linear(r, ENGINE_OP_HEAD, &work->x, &r->model->head_dense, KERN_IDENTITY, &work->pooled);
        activate(r, &work->pooled);
        pooled = &work->pooled;
    }
    linear(r, ENGINE_OP_HEAD, pooled, &r->model->head, KERN_IDENTITY, &work->logits);
}

/* y (D) of columns c0..c1 of a text's rows: their sum over its length, or the largest. */
static void pool_text(const struct kern_rows *x, long first, long last, long c0, long c1, bool most,
                      float *restrict y)
{
    memcpy(y + c0, x->f32 + first * x->stride + c0, (size_t)(c1 - c0) * sizeof *y);
    for (long m = first + 1; m < last; m++) {
        const float *restrict row = x->f32 + m * x->stride;
        if (most)
            /* what is not finite counts for nothing in a comparison, and must not get lost */
            for (long i = c0; i < c1; i++)
                y[i] = (row[i] > y[i] ? row[i] : y[i]) + (row[i] - row[i]);
        else
            for (long i = c0; i < c1; i++)
                y[i] += row[i];
    }
    const float scale = most ? 1.0F : 1.0F / (float)(last - first);
    for (long i = c0; i < c1; i++)
        y[i] *= scale;
}

/* pooled (B, D) from the hidden states x (T, D). Threads share out columns, so that the order of a sum depends on its text
 * alone. */
static void pool(const struct run *r, bool most)
{
    const struct engine_workspace *work = &r->s->work;
    const struct engine_chunk *chunk = &r->s->chunk;
    long hidden = r->model->info.hidden;
    long c0 = share(hidden, KERN_PANEL, r->thread, r->threads);
    long c1 = share(hidden, KERN_PANEL, r->thread + 1, r->threads);
    if (r->by_rows)
        meet(r);
    double start = clock_of(r);
    for (long b = 0; b < chunk->texts && c0 < c1; b++)
        pool_text(&work->x, chunk->start[b], chunk->start[b + 1], c0, c1, most,
                  work->pooled.f32 + b * work->pooled.stride);
    trace(r, ENGINE_OP_POOL, start, (double)(r->rows * (c1 - c0)),
          4 * (double)(r->rows * (c1 - c0)));
}

/* Embeddings (B, D) into pooled, for a head that reads them. */
static void embed_texts(struct run *r)
{
    struct engine_workspace *work = &r->s->work;
    const struct weights_config *config = &r->model->weights->config;
    const bool first = config->pooling == WEIGHTS_POOLING_CLS;
    if (!first) {
        pool(r, config->pooling == WEIGHTS_POOLING_MAX);
        meet(r);
        set_rows(r, r->s->chunk.texts);
    }
    for (long m = r->m0; m < r->m1; m++) {
        float *row = work->pooled.f32 + m * work->pooled.stride;
        if (first)
            memcpy(row, work->x.f32 + m * work->x.stride, (size_t)config->hidden * sizeof *row);
        if (config->normalize)
            distil_normalize(row, config->hidden);
    }
    step(r);
}

/* Whether all that is read of the last layer is first tokens. */
static bool reads_first_tokens(const struct run *r)
{
    if (r->output == ENGINE_LOGITS && head_reads_embeddings(r))
        return r->model->weights->config.pooling == WEIGHTS_POOLING_CLS;
    return r->output == ENGINE_LOGITS || r->output == ENGINE_FIRST;
}

static void finish(struct run *r)
{
    struct engine_workspace *work = &r->s->work;
    switch (r->output) {
    case ENGINE_LOGITS:
        if (head_reads_embeddings(r))
            embed_texts(r);
        classify(r);
        break;
    case ENGINE_SPANS:
        linear(r, ENGINE_OP_HEAD, &work->x, &r->model->head, KERN_IDENTITY, &work->logits);
        break;
    case ENGINE_MEAN:
    case ENGINE_MAX:
        pool(r, r->output == ENGINE_MAX);
        break;
    case ENGINE_HIDDEN:
    case ENGINE_FIRST:
        break;
    }
}

static void forward_share(void *context, int thread)
{
    struct run r = *(const struct run *)context;
    int layers = r.model->info.layers;
    r.thread = thread;
    set_rows(&r, r.s->chunk.tokens);

    r.layer = -1;
    embed(&r);
    for (r.layer = 0; r.layer < layers - 1; r.layer++)
        whole_layer(&r, &r.model->layers[r.layer]);
    if (reads_first_tokens(&r))
        first_token_layer(&r, &r.model->layers[r.layer]);
    else
        whole_layer(&r, &r.model->layers[r.layer]);
    r.layer = -1;
    finish(&r);
}

void engine_forward(distil_session *session, enum engine_output output)
{
    struct engine_chunk *chunk = &session->chunk;
    long group = session->model->kernels.query_group;
    for (long b = 0; b < chunk->texts; b++) {
        long groups = (chunk->start[b + 1] - chunk->start[b] + group - 1) / group;
        chunk->first_task[b + 1] = chunk->first_task[b] + session->model->info.heads * groups;
    }
    engine_session_fit(session, chunk->tokens);
    struct run run = {
        .s = session,
        .model = session->model,
        .output = output,
        .threads = engine_team_threads(session->team),
    };
    engine_team_run(session->team, forward_share, &run);
}

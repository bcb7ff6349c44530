/* session.h: the memory and threads of one computation at a time. */
#ifndef ENGINE_SESSION_H
#define ENGINE_SESSION_H

#include "engine/distil.h"
#include "engine/model.h"
#include "engine/team.h"

enum { ENGINE_PREDICT_BATCH = 64 };

/* What the forward pass works in. T is the tokens of the chunk at hand; widths are padded. Every matrix
 * that a product of the encoder reads shares one form for its scheme (quantised or rounded), since
 * none is read after the next is written. What lies between the parts of a layer (qkv, context, y, inner) is in
 * kern_table.form of the scheme. */
struct engine_workspace {
    struct kern_rows x;       /* (T, hidden): the residual stream */
    struct kern_rows qkv;     /* (T, 3 hidden) */
    struct kern_rows context; /* (T, hidden): what attention gathers */
    struct kern_rows y;       /* (T, hidden): a product before it joins the residual stream */
    struct kern_rows inner;   /* (T, ffn) */
    struct kern_rows pooled;  /* (T, hidden): what the head makes of first tokens, or embeddings */
    struct kern_rows logits;  /* (T, labels) */
    char *scratch;            /* one piece a thread, for attention and conversion */
    size_t scratch_size;      /* of a piece */
};

/* Texts computed together: whole texts, at most the workspace's tokens. Text b is rows
 * start[b]..start[b + 1]. */
struct engine_chunk {
    long texts, tokens;
    int32_t *ids, *positions; /* (T) */
    uint8_t *types;           /* (T) */
    long *start;              /* (T + 1) */
    long *first_task;         /* (T + 1): attention tasks of all texts before this one */
};

struct distil_session {
    const distil_model *model;
    struct engine_team *team;
    long capacity;     /* the most tokens of a chunk */
    long chunk_tokens; /* of several texts */
    struct engine_workspace work;
    struct engine_chunk chunk;
    void *memory; /* what stays in its place, and behind it the matrices */
    size_t memory_size, fixed_size;
    struct engine_trace *trace; /* NULL where passes are not recorded */
    /* Of distil_predict, which encodes a batch before it computes it. */
    distil_tokens *batch_tokens[ENGINE_PREDICT_BATCH];
    float *batch_logits; /* (ENGINE_PREDICT_BATCH, labels) */
};

/* The embeddings of n texts (n, hidden), pooled and normalised as told instead of as the model says. */
distil_status engine_embed(distil_session *session, const distil_tokens *const *texts, int n,
                           distil_pooling pooling, int normalize, float *embeddings,
                           distil_error *error);

/* Lays the matrices out for T rows, at most the capacity, so that a small chunk takes few pages: whatever they held is lost. */
void engine_session_fit(distil_session *session, long rows);

#endif

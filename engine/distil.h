/* distil.h: DistilBERT-class encoders on CPUs.
 *
 *   distil_model *model;
 *   distil_session *session;
 *   distil_error error;
 *   distil_prediction prediction;
 *   const char *text = "a charming and often affecting journey";
 *   if (distil_model_open(NULL, NULL, &model, &error) ||
 *       distil_session_create(model, 0, &session, &error))
 *       return fprintf(stderr, "%s\n", error.message), 1;
 *   if (distil_predict(session, &text, 1, &prediction, &error) == DISTIL_OK)
 *       printf("%s %.4f\n", distil_label(model, prediction.label), prediction.score);
 *   distil_session_free(session);
 *   distil_model_free(model);
 *
 * A model is immutable and may be shared by any number of threads and sessions. A session owns the
 * memory and the threads of one computation at a time: use it from one thread at once. Computing
 * allocates nothing.
 */
#ifndef DISTIL_H
#define DISTIL_H

#include <stddef.h>
#include <stdint.h>

#include "distil_status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct distil_model distil_model;
typedef struct distil_session distil_session;

typedef struct {
    /* "fp32", "bf16" or "int8"; NULL: the fastest within int8's accuracy on this CPU. */
    const char *precision;
    /* "scalar", "openblas"; on x86-64 "avx2", "avx512", "vnni" or "amx", on arm64 "neon" or "dotprod"; NULL: DISTILD_CPU, else the
     * best there is. */
    const char *cpu;
    const char *pooling; /* "mean", "cls" or "max"; NULL: as the model says */
    int normalize;       /* 0: as the model says; 1: embeddings have length 1; -1: as pooled */
} distil_options;

typedef enum {
    DISTIL_TASK_NONE, /* an encoder without a head: it embeds */
    DISTIL_TASK_CLASSIFY,
    DISTIL_TASK_TOKENS,
    DISTIL_TASK_ANSWER
} distil_task;
typedef enum { DISTIL_SOFTMAX, DISTIL_SIGMOID, DISTIL_REGRESSION } distil_problem;
/* What of the last hidden states of its tokens becomes a text's embedding: their mean, that of [CLS], or the largest of
 * each column. */
typedef enum { DISTIL_POOLING_MEAN, DISTIL_POOLING_CLS, DISTIL_POOLING_MAX } distil_pooling;

typedef struct {
    const char *path;
    const char *digest;    /* SHA-256 that the model file states; "" for a HuggingFace directory */
    const char *precision; /* that computes */
    const char *cpu;       /* level that computes */
    distil_task task;
    distil_problem problem;
    int hidden, layers, heads, ffn, vocab;
    int window; /* most tokens of one text */
    int label_count;
    distil_pooling pooling; /* of embeddings, as the options or else the model say */
    int normalize;          /* 1: embeddings have length 1 */
    double load_seconds;
} distil_info;

/* The path of the model of a task that comes with the program, to be freed by free: the first that exists in share/distild
 * beside the program (a build directory), beside its directory (installed), beside the shared library's, and in the directory
 * it was configured to be installed to. DISTIL_NOT_FOUND names the places. */
DISTIL_API distil_status distil_bundled(distil_task task, char **path, distil_error *error);
/* path: a model file or a HuggingFace directory; NULL: the model that DISTILD_MODEL names, else
 * the bundled text classifier. options may be NULL. */
DISTIL_API distil_status distil_model_open(const char *path, const distil_options *options,
                                           distil_model **model, distil_error *error);
/* Reads the whole model file and compares its digest (DISTIL_FORMAT where it differs), which opening
 * does not. A HuggingFace directory states none; all of it was read when it was opened. */
DISTIL_API distil_status distil_model_verify(const distil_model *model, distil_error *error);
/* 1 where both were opened from one model file that nobody wrote to in between: device, inode, size and time of change.
 * Digests do not say so, as they are what each file states. Else, and of HuggingFace directories always, 0. */
DISTIL_API int distil_model_same_file(const distil_model *a, const distil_model *b);
DISTIL_API void distil_model_free(distil_model *model);
DISTIL_API const distil_info *distil_model_info(const distil_model *model);
/* The name of label 0 <= i < label_count; NULL outside. */
DISTIL_API const char *distil_label(const distil_model *model, int i);

/* Tokens. */
typedef struct distil_tokens distil_tokens;
typedef enum {
    DISTIL_TRUNCATE_NONE,
    DISTIL_TRUNCATE_RIGHT,
    DISTIL_TRUNCATE_LEFT
} distil_truncation;

/* Encodes a text, and with pair not NULL a pair. *tokens is created when NULL, else reused.
 * DISTIL_TOO_LONG where the text does not fit the window and truncation is NONE. Lengths are in
 * bytes. */
DISTIL_API distil_status distil_encode(const distil_model *model, const char *text, size_t length,
                                       const char *pair, size_t pair_length,
                                       distil_truncation truncation, distil_tokens **tokens,
                                       distil_error *error);
DISTIL_API void distil_tokens_free(distil_tokens *tokens);
DISTIL_API int distil_tokens_count(const distil_tokens *tokens);
DISTIL_API int distil_tokens_truncated(const distil_tokens *tokens);
/* What an encoding of nothing consists of, [CLS] and [SEP]: no text has fewer tokens. */
enum { DISTIL_EMPTY_TOKENS = 2 };
/* Tokens before truncation, special tokens included. */
DISTIL_API int distil_tokens_full_count(const distil_tokens *tokens);
DISTIL_API const int32_t *distil_tokens_ids(const distil_tokens *tokens);
/* How many of them stand for what the vocabulary lacks, as [UNK] does. */
DISTIL_API int distil_tokens_unknown(const distil_model *model, const distil_tokens *tokens);
/* (count) pairs of start and end in Unicode characters of the text; 0, 0 for special tokens. */
DISTIL_API const int32_t (*distil_tokens_offsets(const distil_tokens *tokens))[2];
/* The token with an id; NULL outside the vocabulary. */
DISTIL_API const char *distil_token(const distil_model *model, int32_t id);
/* Tokens from ids, for callers with a tokenizer of their own; DISTIL_INVALID for an id outside the
 * vocabulary or a count outside 1..window. */
DISTIL_API distil_status distil_tokens_from_ids(const distil_model *model, const int32_t *ids,
                                                int count, distil_tokens **tokens,
                                                distil_error *error);

/* threads: 0 for every CPU that the affinity mask and the cgroup quota allow. */
DISTIL_API distil_status distil_session_create(const distil_model *model, int threads,
                                               distil_session **session, distil_error *error);
DISTIL_API void distil_session_free(distil_session *session);
DISTIL_API int distil_session_threads(const distil_session *session);

/* Computes n encoded texts together, as one ragged batch. logits: (n, label_count). DISTIL_TASK
 * where the model has no classification head. DISTIL_NOT_FINITE where a logit is infinite or NaN, as
 * with weights that overflow: the message names the first such text, counted from 0, and the logits
 * of all texts are there, those of the others as good as ever. */
DISTIL_API distil_status distil_logits(distil_session *session, const distil_tokens *const *texts,
                                       int n, float *logits, distil_error *error);
/* The same, with what the classification head reads of each text: the last hidden state of its first token. first:
 * (n, hidden). */
DISTIL_API distil_status distil_logits_first(distil_session *session,
                                             const distil_tokens *const *texts, int n,
                                             float *logits, float *first, distil_error *error);
/* One embedding of each text, pooled and normalised as distil_info says: (n, hidden). Any model has them, though only one
 * that was trained to (DISTIL_TASK_NONE) gives them a meaning. DISTIL_NOT_FINITE as distil_logits has it. */
DISTIL_API distil_status distil_embed(distil_session *session, const distil_tokens *const *texts,
                                      int n, float *embeddings, distil_error *error);
/* The same as pooled, whether or not the model normalises. */
DISTIL_API distil_status distil_pool(distil_session *session, const distil_tokens *const *texts,
                                     int n, float *embeddings, distil_error *error);
/* Divides n values by the length of their vector, as distil_embed does; zeros stay zeros. */
DISTIL_API void distil_normalize(float *vector, int n);
/* What a question answering model makes of each token, as the start and as the end of the answer: (total tokens of all
 * texts, 2), one text after another. DISTIL_TASK where the model has no such head, DISTIL_NOT_FINITE as distil_logits has
 * it. */
DISTIL_API distil_status distil_spans(distil_session *session, const distil_tokens *const *texts,
                                      int n, float *logits, distil_error *error);
/* Computes what the model is known to answer, and compares: DISTIL_SELF_TEST names the text, what was
 * expected and what was found. For a model file that is the golden texts of its conversion, within what the
 * session's precision allows. For a HuggingFace directory, which states none, it is that texts computed alone
 * and together come out alike, and finite. */
DISTIL_API distil_status distil_self_test(distil_session *session, distil_error *error);
/* The last hidden states: (total tokens of all texts, hidden), one text after another.
 * DISTIL_NOT_FINITE as distil_logits has it. */
DISTIL_API distil_status distil_hidden_states(distil_session *session,
                                              const distil_tokens *const *texts, int n,
                                              float *hidden, distil_error *error);

/* Logits to scores as the model's problem asks: softmax, sigmoid of each, or the value itself. May
 * be in place. */
DISTIL_API void distil_scores(const distil_model *model, const float *logits, float *scores);

typedef struct {
    int label; /* of the highest score */
    float score;
    int tokens;
    int truncated; /* 1 where the text was cut at the window */
} distil_prediction;

/* Encodes (truncating from the right), computes and decides, for n NUL-terminated texts. */
DISTIL_API distil_status distil_predict(distil_session *session, const char *const *texts, int n,
                                        distil_prediction *predictions, distil_error *error);

#ifdef __cplusplus
}
#endif
#endif

/* weights.h: an encoder's weights, configuration, labels and tokenizer, from a HuggingFace directory or a distild model
 * file, seen the same way.
 *
 *   struct weights_model *model;
 *   if (weights_open(&model, "model.distild", &error) == DISTIL_OK) { ... weights_free(model); }
 *
 * Both sources are mapped read-only and tensors point into the mapping; what has to be computed (folded positions, float
 * biases of a half-precision checkpoint) is owned by the model. A weights_model is immutable once opened.
 */
#ifndef WEIGHTS_WEIGHTS_H
#define WEIGHTS_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weights/distil_status.h"

enum weights_dtype { WEIGHTS_F32, WEIGHTS_F16, WEIGHTS_BF16, WEIGHTS_I8 };

/* A matrix (rows, cols), row-major as HuggingFace stores it: a linear layer's weight is (out, in). data is NULL for a
 * tensor that the model does not have. A vector has one row. I8 rows have one scale each: w = scale[row] * data. */
struct weights_tensor {
    enum weights_dtype dtype;
    long rows, cols;
    const void *data;
    const float *scale; /* (rows), I8 only */
};

struct weights_linear {
    struct weights_tensor weight; /* (out, in), any dtype */
    struct weights_tensor bias;   /* (1, out), F32 */
};

struct weights_norm {
    struct weights_tensor gamma, beta; /* (1, hidden), F32 */
};

struct weights_layer {
    struct weights_linear query, key, value, output; /* (hidden, hidden) */
    struct weights_norm attention_norm;
    struct weights_linear up;   /* (ffn, hidden) */
    struct weights_linear down; /* (hidden, ffn) */
    struct weights_norm output_norm;
};

enum weights_architecture { WEIGHTS_DISTILBERT, WEIGHTS_BERT };
enum weights_task {
    WEIGHTS_TASK_NONE, /* an encoder without a head */
    WEIGHTS_TASK_SEQUENCE_CLASSIFICATION,
    WEIGHTS_TASK_TOKEN_CLASSIFICATION,
    WEIGHTS_TASK_QUESTION_ANSWERING
};
/* HuggingFace's problem_type; where config.json names none: regression for one label, else single label. */
enum weights_problem { WEIGHTS_SINGLE_LABEL, WEIGHTS_MULTI_LABEL, WEIGHTS_REGRESSION };
/* What stands between the dense layer of a classification head and its output. */
enum weights_activation { WEIGHTS_RELU, WEIGHTS_TANH };

/* What of the last hidden states of its tokens becomes a text's embedding. */
enum weights_pooling { WEIGHTS_POOLING_MEAN, WEIGHTS_POOLING_CLS, WEIGHTS_POOLING_MAX };

/* What a classification head reads. */
enum weights_head_input {
    WEIGHTS_HEAD_FIRST_TOKEN, /* its hidden state, through head_dense and the activation where there is one */
    WEIGHTS_HEAD_EMBEDDING /* the text's embedding, as pooling and normalize say */
};

struct weights_config {
    enum weights_architecture architecture; /* where the checkpoint came from */
    enum weights_task task;
    enum weights_problem problem;
    enum weights_activation head_activation;
    enum weights_head_input head_input;
    /* Of sentence-transformers' modules.json and pooling configuration; the mean, not normalised, where a
     * model has none. */
    enum weights_pooling pooling;
    bool normalize; /* embeddings have length 1 */
    int hidden, layers, heads, ffn;
    int vocab;
    int window; /* positions: the most tokens of one text, special tokens included */
    float norm_eps;
    int label_count;
    char **labels; /* (label_count), from id2label, "LABEL_i" where it has none */
};

struct weights_added_token {
    char *content; /* UTF-8 */
    int id;
    bool special, single_word, lstrip, rstrip, normalized;
    bool outside; /* of the WordPiece vocabulary, so that no word yields it */
};

/* The highest max_input_chars_per_word that is read. */
enum { WEIGHTS_WORD_CHARACTERS_MAX = 1000 };

/* What a BERT tokenizer needs, as tokenizer.json or vocab.txt with tokenizer_config.json give it. */
struct weights_tokenizer {
    int count;           /* ids 0..count-1 */
    const char **tokens; /* (count) UTF-8, added ones too, NULL for an id without a token */
    int added_count;
    struct weights_added_token *added; /* special tokens among them */
    bool clean_text, chinese_chars, lowercase, strip_accents;
    char *prefix;                 /* of a continuing subword: "##" */
    int max_word_characters;      /* 1..WEIGHTS_WORD_CHARACTERS_MAX */
    int unk, cls, sep, pad, mask; /* ids; mask is -1 where the vocabulary has none */
};

/* Texts and what the model made of them in fp32 when its file was written, which another machine's answers can be held
 * to: the logits of a text classifier, an encoder's embedding, the start and end logits of an answerer's tokens. */
struct weights_golden {
    int count; /* 0: there are none */
    const char *const *texts;
    const int *widths;   /* (count): values of each text */
    const float *values; /* (sum of widths): one text's after another's */
};

struct weights_model {
    char *path;
    /* SHA-256 in lower-case hex of what the model file holds; empty for a HuggingFace directory. */
    char digest[65];
    struct weights_config config;
    struct weights_tokenizer tokenizer;
    struct weights_tensor word;       /* (vocab, hidden) */
    struct weights_tensor position;   /* (window, hidden); BERT's token type 0 is folded in */
    struct weights_tensor token_type; /* (1, hidden) F32: type 1 less type 0, BERT only */
    struct weights_norm embedding_norm;
    struct weights_layer *layers;     /* (config.layers) */
    struct weights_linear head_dense; /* (hidden, hidden): pre_classifier or pooler.dense, if any */
    struct weights_linear head;       /* (labels, hidden); absent for WEIGHTS_TASK_NONE */
    struct weights_golden golden;     /* of a model file */
    struct weights_private *private_; /* mappings and owned buffers */
};

/* Opens a model file, or a directory with config.json, model.safetensors (or its index and shards) and a tokenizer.
 * Everything is checked: a model that opens can be computed with. */
distil_status weights_open(struct weights_model **model, const char *path, distil_error *error);
void weights_free(struct weights_model *model);

/* Reports progress of a long job: done of total bytes. May be NULL. */
typedef void weights_progress(void *context, size_t done, size_t total);

/* Writes a model file: matrices as dtype (F32, F16 or I8 with a scale per row), vectors as F32, and golden, where it is
 * not NULL, instead of the model's own, which may not be what the matrices as dtype give. Atomic: a temporary name beside
 * path, fsync, rename. */
distil_status weights_write(const struct weights_model *model, const char *path,
                            enum weights_dtype dtype, const struct weights_golden *golden,
                            weights_progress *progress, void *context, distil_error *error);

/* Reads the whole file and compares its digest with the one that it states; DISTIL_FORMAT where they differ. */
distil_status weights_verify(const struct weights_model *model, distil_error *error);
/* Whether both were opened from one model file that nobody wrote to in between; never of HuggingFace directories. */
bool weights_same(const struct weights_model *a, const struct weights_model *b);

/* One tensor of a file, for listings. */
struct weights_entry {
    const char *name;
    const char *dtype; /* as safetensors spells it */
    int rank;
    int64_t shape[8];
    size_t bytes;
};
/* Calls visit for every tensor of the source in file order. */
void weights_each(const struct weights_model *model,
                  void (*visit)(void *context, const struct weights_entry *entry), void *context);

const char *weights_dtype_name(enum weights_dtype dtype); /* "fp32", "fp16", "bf16", "int8" */

#endif

/* forward.h: the encoder and its head over one chunk of texts. */
#ifndef ENGINE_FORWARD_H
#define ENGINE_FORWARD_H

#include "engine/session.h"

enum engine_output {
    ENGINE_HIDDEN, /* the last hidden states: work.x, one row a token */
    ENGINE_FIRST,  /* those of first tokens: work.x, one row a text */
    ENGINE_MEAN,   /* their mean over the tokens of a text: work.pooled, one row a text */
    ENGINE_MAX,    /* the largest of each column, the same */
    ENGINE_LOGITS, /* the classification head on the first token: work.logits, one row a text */
    ENGINE_SPANS   /* the question answering head: work.logits, one row a token */
};

/* Computes session->chunk on all threads of the session. Allocates nothing and cannot fail. */
void engine_forward(distil_session *session, enum engine_output output);

#endif

/* forward.h: the encoder and its head over one chunk of texts. */
#ifndef ENGINE_FORWARD_H
#define ENGINE_FORWARD_H

#include "engine/session.h"

enum engine_output {
    ENGINE_HIDDEN, /* the last hidden states: work.x, one row a token */
    ENGINE_LOGITS  /* the classification head on the first token: work.logits, one row a text */
};

/* Computes session->chunk on all threads of the session. Allocates nothing and cannot fail. */
void engine_forward(distil_session *session, enum engine_output output);

#endif

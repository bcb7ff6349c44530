/* sentence.h: what sentence-transformers keeps beside a checkpoint: how an encoder's hidden states become one embedding. */
#ifndef WEIGHTS_SENTENCE_H
#define WEIGHTS_SENTENCE_H

#include "weights/weights.h"

/* Reads modules.json of the directory, the configuration of its pooling module, and sentence_bert_config.json, into pooling,
 * normalize and window, which only shrinks; leaves the config as it is where there is no modules.json. DISTIL_UNSUPPORTED names
 * a module or pooling that changes embeddings in a way that is not known here. */
distil_status weights_read_sentence(struct weights_config *config,
                                    const struct weights_tokenizer *tokenizer,
                                    const char *directory, distil_error *error);

#endif

/* inputs.h: what the bodies of several routes have in common: an object, the model that is to answer, how long texts are
 * cut. */
#ifndef SERVER_INPUTS_H
#define SERVER_INPUTS_H

#include <cjson/cJSON.h>

#include "server/exchange.h"

/* The object that the body holds, to be freed by cJSON_Delete; NULL, with 400 answered, where it holds none. */
cJSON *server_input_object(struct server_exchange *exchange);
/* Finds the model that the field `model` names, else the first of the task. False, with the failure answered for a value
 * of the wrong type and otherwise as server_work_use_task, where there is none. */
bool server_input_model(struct server_exchange *exchange, const cJSON *object, unsigned failure,
                        distil_task task);
/* Reads `truncate` and `truncation_direction`. False, with 422 answered, where they are malformed. */
bool server_input_truncation(struct server_exchange *exchange, const cJSON *object,
                             distil_truncation *truncation);
/* Answers 400 where `inputs` is an empty array, 413 where it has more texts than a request may. True where neither. */
bool server_input_count(struct server_exchange *exchange, int count);

#endif

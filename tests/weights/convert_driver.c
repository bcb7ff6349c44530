/* convert_driver SOURCE OUTPUT fp32|fp16|int8: converts, for the test that reads the file from Python. */
#include <stdio.h>
#include <string.h>

#include "weights/weights.h"

int main(int argc, char **argv)
{
    static const enum weights_dtype dtypes[] = {WEIGHTS_F32, WEIGHTS_F16, WEIGHTS_I8};
    struct weights_model *model = NULL;
    distil_error error = {.message = "expected SOURCE OUTPUT fp32|fp16|int8"};
    distil_status status = DISTIL_INVALID;
    for (int i = 0; i < 3 && argc == 4; i++) {
        if (strcmp(argv[3], weights_dtype_name(dtypes[i])))
            continue;
        status = weights_open(&model, argv[1], &error);
        if (!status)
            status = weights_write(model, argv[2], dtypes[i], NULL, NULL, NULL, &error);
    }
    weights_free(model);
    if (status)
        fprintf(stderr, "%s\n", error.message);
    return status != DISTIL_OK;
}

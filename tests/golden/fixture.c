#include "tests/golden/fixture.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *fixture_read(const char *path, long *size)
{
    FILE *file = fopen(path, "rb");
    char *bytes = NULL;
    if (!file)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (*size = ftell(file)) >= 0 &&
        fseek(file, 0, SEEK_SET) == 0)
        bytes = malloc((size_t)*size + 1);
    if (bytes && fread(bytes, 1, (size_t)*size, file) == (size_t)*size) {
        bytes[*size] = 0;
    } else {
        free(bytes);
        bytes = NULL;
    }
    fclose(file);
    return bytes;
}

/* Copies a tensor of 4-byte elements out of a safetensors file; NULL unless its type and rank are
 * as expected. */
static void *copy_tensor(const cJSON *header, const char *data, long data_size, const char *name,
                         const char *dtype, int rank, int shape[2])
{
    const cJSON *tensor = cJSON_GetObjectItemCaseSensitive(header, name);
    const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(tensor, "dtype"));
    const cJSON *sizes = cJSON_GetObjectItemCaseSensitive(tensor, "shape");
    const cJSON *span = cJSON_GetObjectItemCaseSensitive(tensor, "data_offsets");
    size_t bytes = 4;
    if (!type || strcmp(type, dtype) != 0 || cJSON_GetArraySize(sizes) != rank ||
        cJSON_GetArraySize(span) != 2)
        return NULL;
    for (int i = 0; i < rank; i++) {
        shape[i] = cJSON_GetArrayItem(sizes, i)->valueint;
        bytes *= (size_t)shape[i];
    }
    long begin = (long)cJSON_GetArrayItem(span, 0)->valuedouble;
    long end = (long)cJSON_GetArrayItem(span, 1)->valuedouble;
    if (begin < 0 || end < begin || end > data_size || (size_t)(end - begin) != bytes)
        return NULL;
    void *copy = malloc(bytes + 1);
    if (copy)
        memcpy(copy, data + begin, bytes);
    return copy;
}

int fixture_open(struct fixture *fixture, const char *path)
{
    long size = 0;
    uint64_t header_size = 0;
    int ids[2] = {0}, offsets[2] = {0}, logits[2] = {0}, rows[2] = {0}, states[2] = {0};
    char *bytes = fixture_read(path, &size);
    cJSON *header = NULL;

    memset(fixture, 0, sizeof *fixture);
    if (bytes && size > 8)
        memcpy(&header_size, bytes, sizeof header_size);
    if (header_size > 0 && header_size <= (uint64_t)size - 8)
        header = cJSON_ParseWithLength(bytes + 8, header_size);
    if (header) {
        const char *data = bytes + 8 + header_size;
        long data_size = size - 8 - (long)header_size;
        fixture->ids = copy_tensor(header, data, data_size, "ids", "I32", 1, ids);
        fixture->offsets = copy_tensor(header, data, data_size, "offsets", "I32", 1, offsets);
        fixture->logits = copy_tensor(header, data, data_size, "logits", "F32", 2, logits);
        fixture->rows = copy_tensor(header, data, data_size, "rows", "I32", 1, rows);
        fixture->states = copy_tensor(header, data, data_size, "hidden", "F32", 2, states);
    }
    int ok =
        fixture->ids && fixture->offsets && fixture->logits && fixture->rows && fixture->states;
    if (ok) {
        fixture->texts = logits[0];
        fixture->labels = logits[1];
        fixture->row_count = states[0];
        fixture->hidden = states[1];
        ok = offsets[0] == logits[0] + 1 && fixture->offsets[logits[0]] == ids[0] &&
             rows[0] == states[0];
    }
    if (!ok) {
        fprintf(stderr, "%s: not a fixture of tests/golden/make_parity.py\n", path);
        fixture_close(fixture);
    }
    cJSON_Delete(header);
    free(bytes);
    return ok;
}

void fixture_close(struct fixture *fixture)
{
    free(fixture->ids);
    free(fixture->offsets);
    free(fixture->logits);
    free(fixture->rows);
    free(fixture->states);
    memset(fixture, 0, sizeof *fixture);
}

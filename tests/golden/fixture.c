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

/* A safetensors file: its header, its data, and the bytes that both are in. */
struct opened {
    char *bytes;
    cJSON *header; /* NULL where it cannot be read */
    const char *data;
    long data_size;
};

static struct opened open_tensors(const char *path)
{
    struct opened file = {0};
    long size = 0;
    uint64_t header_size = 0;
    file.bytes = fixture_read(path, &size);
    if (file.bytes && size > 8)
        memcpy(&header_size, file.bytes, sizeof header_size);
    if (header_size > 0 && header_size <= (uint64_t)size - 8) {
        file.header = cJSON_ParseWithLength(file.bytes + 8, header_size);
        file.data = file.bytes + 8 + header_size;
        file.data_size = size - 8 - (long)header_size;
    }
    return file;
}

static int close_tensors(struct opened *file, const char *path, int ok)
{
    if (!ok)
        fprintf(stderr, "%s: not a fixture of tests/golden\n", path);
    cJSON_Delete(file->header);
    free(file->bytes);
    return ok;
}

int fixture_open(struct fixture *fixture, const char *path)
{
    int ids[2] = {0}, offsets[2] = {0}, logits[2] = {0}, rows[2] = {0}, states[2] = {0};
    struct opened file = open_tensors(path);
    const cJSON *header = file.header;

    memset(fixture, 0, sizeof *fixture);
    if (header) {
        const char *data = file.data;
        long data_size = file.data_size;
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
    if (!ok)
        fixture_close(fixture);
    return close_tensors(&file, path, ok);
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

int fixture_outputs_open(struct fixture_outputs *fixture, const char *path)
{
    static const char *const names[] = {"mean", "cls", "max"};
    int ids[2] = {0}, offsets[2] = {0}, spans[2] = {0}, pooled[2] = {0}, ok = 0;
    struct opened file = open_tensors(path);
    memset(fixture, 0, sizeof *fixture);
    if (file.header) {
        const char *data = file.data;
        fixture->ids = copy_tensor(file.header, data, file.data_size, "ids", "I32", 1, ids);
        fixture->offsets =
            copy_tensor(file.header, data, file.data_size, "offsets", "I32", 1, offsets);
        fixture->spans = copy_tensor(file.header, data, file.data_size, "spans", "F32", 2, spans);
        fixture->texts = offsets[0] - 1;
        ok = fixture->ids && fixture->offsets && fixture->texts > 0 &&
             fixture->offsets[fixture->texts] == ids[0] && (!fixture->spans || spans[0] == ids[0]);
    }
    for (int i = 0; ok && !fixture->spans && i < 3; i++) {
        fixture->pooled[i] =
            copy_tensor(file.header, file.data, file.data_size, names[i], "F32", 2, pooled);
        ok = fixture->pooled[i] && pooled[0] == fixture->texts;
    }
    if (!ok)
        fixture_outputs_close(fixture);
    return close_tensors(&file, path, ok);
}

void fixture_outputs_close(struct fixture_outputs *fixture)
{
    free(fixture->ids);
    free(fixture->offsets);
    free(fixture->spans);
    for (int i = 0; i < 3; i++)
        free(fixture->pooled[i]);
    memset(fixture, 0, sizeof *fixture);
}

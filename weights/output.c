#include "weights/output.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "weights/file.h"

distil_status weights_output_open(struct weights_output *output, const char *path,
                                  distil_error *error)
{
    *output = (struct weights_output){.error = error};
    sha256_init(&output->hash);
    return weights_replacement_open(&output->file, path, 0666, error);
}

distil_status weights_output_put(struct weights_output *output, const void *data, size_t bytes)
{
    sha256_update(&output->hash, bytes, data);
    if (fwrite(data, 1, bytes, output->file.out) != bytes)
        return weights_replacement_fail(&output->file, "write", output->error);
    return DISTIL_OK;
}

distil_status weights_output_header(struct weights_output *output, struct weights_text *header)
{
    static const char key[] = "\"" WEIGHTS_KEY_DIGEST "\":\"";
    unsigned char length[8];
    while (!header->failed && (sizeof length + header->length) % WEIGHTS_DATA_ALIGN)
        weights_text_add(header, " ", 1);
    if (header->failed)
        return weights_no_memory(output->file.path, output->error);
    for (size_t i = 0; i < sizeof length; i++)
        length[i] = (unsigned char)((uint64_t)header->length >> 8 * i);
    const char *at = strstr(header->data, key);
    output->digest_at = (off_t)sizeof length + (off_t)(at - header->data) + (off_t)sizeof key - 1;
    distil_status status = weights_output_put(output, length, sizeof length);
    return status ? status : weights_output_put(output, header->data, header->length);
}

static void digest_text(struct sha256_ctx *hash, char text[WEIGHTS_DIGEST_LENGTH + 1])
{
    uint8_t sum[SHA256_DIGEST_SIZE];
    sha256_digest(hash, sizeof sum, sum);
    for (size_t i = 0; i < sizeof sum; i++)
        snprintf(text + 2 * i, 3, "%02x", sum[i]);
}

distil_status weights_output_finish(struct weights_output *output)
{
    FILE *out = output->file.out;
    char digest[WEIGHTS_DIGEST_LENGTH + 1];
    digest_text(&output->hash, digest);
    if (fseeko(out, output->digest_at, SEEK_SET) ||
        fwrite(digest, 1, WEIGHTS_DIGEST_LENGTH, out) != WEIGHTS_DIGEST_LENGTH)
        return weights_replacement_fail(&output->file, "write", output->error);
    return weights_replacement_finish(&output->file, output->error);
}

void weights_output_close(struct weights_output *output)
{
    weights_replacement_close(&output->file);
}

distil_status weights_check_digest(const struct weights_safetensors *file, const char *stated,
                                   distil_error *error)
{
    const unsigned char *data = file->mapping.data;
    const unsigned char *at = memmem(data, file->data_start, stated, WEIGHTS_DIGEST_LENGTH);
    if (!at)
        return distil_fail(error, DISTIL_FORMAT, "%s: " WEIGHTS_KEY_DIGEST " is not spelt plainly",
                           file->path);
    struct sha256_ctx hash;
    uint8_t zeros[WEIGHTS_DIGEST_LENGTH];
    char found[WEIGHTS_DIGEST_LENGTH + 1];
    memset(zeros, '0', sizeof zeros);
    sha256_init(&hash);
    sha256_update(&hash, (size_t)(at - data), data);
    sha256_update(&hash, sizeof zeros, zeros);
    at += sizeof zeros;
    sha256_update(&hash, file->mapping.size - (size_t)(at - data), at);
    digest_text(&hash, found);
    if (strcmp(found, stated) == 0)
        return DISTIL_OK;
    return distil_fail(error, DISTIL_FORMAT,
                       "%s: " WEIGHTS_KEY_DIGEST ": expected %s, found %s: the file is damaged",
                       file->path, stated, found);
}

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/json_input.h"
#include "tools/input.h"
#include "tools/model.h"
#include "tools/telemetry.h"

/* What is known of the bundle before. */
struct chain {
    bool begun;
    int64_t number;
    char installation[TOOL_DIGEST_SIZE], digest[TOOL_DIGEST_SIZE];
};

struct bundle {
    const char *format, *installation, *previous, *made, *public_key;
    int64_t number, predictions, feedback;
};

static const char *text_of(const cJSON *root, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, name));
}

/* Counts of all groups; -1 where there is no list of them. */
static int64_t sum_counts(const cJSON *root, const char *name)
{
    const cJSON *groups = cJSON_GetObjectItemCaseSensitive(root, name), *group;
    double sum = 0;
    if (!cJSON_IsArray(groups))
        return -1;
    cJSON_ArrayForEach(group, groups)
    {
        const cJSON *count = cJSON_GetObjectItemCaseSensitive(group, "count");
        if (!cJSON_IsNumber(count) || count->valuedouble < 0)
            return -1;
        sum += count->valuedouble;
    }
    return sum < 9e15 ? (int64_t)sum : -1;
}

static distil_status read_bundle(const cJSON *root, struct bundle *bundle, distil_error *error)
{
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(root, "number");
    *bundle = (struct bundle){.format = text_of(root, "format"),
                              .installation = text_of(root, "installation"),
                              .previous = text_of(root, "previous"),
                              .made = text_of(root, "made"),
                              .public_key = text_of(root, "public_key"),
                              .predictions = sum_counts(root, "predictions"),
                              .feedback = sum_counts(root, "feedback")};
    if (!bundle->format || strcmp(bundle->format, TOOL_TELEMETRY_FORMAT) != 0)
        return distil_fail(error, DISTIL_FORMAT, "`format` is not \"%s\"", TOOL_TELEMETRY_FORMAT);
    if (!bundle->installation || strlen(bundle->installation) >= TOOL_DIGEST_SIZE ||
        !bundle->previous || !bundle->made || !bundle->public_key || bundle->predictions < 0 ||
        bundle->feedback < 0 || !cJSON_IsNumber(number) || number->valuedouble < 1 ||
        number->valuedouble > 9e15)
        return distil_fail(error, DISTIL_FORMAT, "a field is missing, or of the wrong type");
    bundle->number = (int64_t)number->valuedouble;
    return DISTIL_OK;
}

static distil_status check_chain(const struct chain *chain, const struct bundle *bundle,
                                 distil_error *error)
{
    if (!chain->begun)
        return DISTIL_OK;
    if (strcmp(chain->installation, bundle->installation) != 0)
        return distil_fail(error, DISTIL_FORMAT,
                           "it is of another installation than the one before");
    if (bundle->number != chain->number + 1)
        return distil_fail(error, DISTIL_FORMAT,
                           "its number is %" PRId64 ", after %" PRId64
                           ": bundles are missing or out of order",
                           bundle->number, chain->number);
    if (strcmp(bundle->previous, chain->digest) != 0)
        return distil_fail(
            error, DISTIL_FORMAT,
            "it does not follow on the bundle before, but on another of that number");
    return DISTIL_OK;
}

/* Of a bundle's text; the path is for what is printed. */
static distil_status verify(const char *path, char *text, size_t length, const char *key,
                            struct chain *chain, distil_error *error)
{
    struct server_problem problem;
    struct bundle bundle;
    char *public_key = NULL;
    distil_status status = DISTIL_OK;
    cJSON *root = server_json_parse(text, length, &problem);
    if (!root)
        status = distil_fail(error, DISTIL_FORMAT, "%s", problem.message);
    if (!status)
        status = read_bundle(root, &bundle, error);
    if (!status) {
        public_key = strdup(key ? key : bundle.public_key);
        status = public_key ? tool_telemetry_check(text, length, public_key, error)
                            : distil_fail(error, DISTIL_NO_MEMORY, "out of memory");
    }
    if (!status)
        status = check_chain(chain, &bundle, error);
    if (!status) {
        printf("%s: good: number %" PRId64 " of %s, made %s, %" PRId64 " predictions, %" PRId64
               " with feedback\n",
               path, bundle.number, bundle.installation, bundle.made, bundle.predictions,
               bundle.feedback);
        chain->begun = true;
        chain->number = bundle.number;
        snprintf(chain->installation, sizeof chain->installation, "%s", bundle.installation);
        tool_telemetry_digest(text, length, chain->digest);
    }
    free(public_key);
    cJSON_Delete(root);
    return status;
}

int tool_telemetry_verify(const char *key_file, int count, char **files)
{
    struct chain chain = {0};
    char *key = NULL;
    size_t length;
    distil_error error;
    int result = TOOL_OK;
    if (key_file && tool_input_all(key_file, TOOL_KEY_MOST, &key, &length, &error))
        return tool_failed("telemetry", &error);
    for (int i = 0; i < count; i++) {
        char *text = NULL;
        if (tool_input_all(files[i], TOOL_TELEMETRY_MOST, &text, &length, &error)) {
            result = tool_failed("telemetry", &error);
        } else if (verify(files[i], text, length, key, &chain, &error)) {
            fprintf(stderr, "distild telemetry: %s: %s\n", files[i], error.message);
            result = TOOL_FAILURE;
        }
        free(text);
    }
    if (!key_file && result == TOOL_OK)
        fputs("Each is whole, and signed by the key in itself. Whose that is, --key says.\n",
              stderr);
    free(key);
    return result;
}

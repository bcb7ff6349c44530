#include "tools/telemetry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "engine/cpus.h"
#include "server/json_input.h"
#include "server/prediction_db.h"
#include "server/timestamp.h"
#include "tools/commands.h"
#include "tools/input.h"
#include "tools/model.h"
#include "tools/output.h"
#include "weights/replacement.h"

struct telemetry_settings {
    const char *state_dir, *output, *key;
};

static const struct tool_option options[] = {
    TOOL_STATE_OPTION(struct telemetry_settings,
                      "The server's directory of state; without it, $XDG_STATE_HOME/distild or "
                      "~/.local/state/distild"),
    {.name = "output",
     .letter = 'o',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct telemetry_settings, output),
     .value = "FILE",
     .help = "Where the bundle is written; without it, distild-telemetry-NUMBER.json here. A file "
             "that is there is not replaced"},
    {.name = "key",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct telemetry_settings, key),
     .value = "FILE",
     .help = "verify: the public key of the installation, as 'telemetry key' prints it"},
    TOOL_END_OPTIONS};

/* An edit of feedback comes to the database a moment after its time. */
static const int64_t grace_ns = 5000000000;

struct export
{
    char folder[TOOL_PATH];
    int lock;
    struct tool_telemetry_key *key;
    char *public_key;
    struct tool_telemetry_place place;
    struct tool_telemetry_range range;
};

static distil_status path_in(const struct export *run, const char *name, char path[TOOL_PATH],
                             distil_error *error)
{
    return snprintf(path, TOOL_PATH, "%s/%s", run->folder, name) < TOOL_PATH
               ? DISTIL_OK
               : distil_fail(error, DISTIL_INVALID, "%.60s...: the path is too long", run->folder);
}

/* ---- how far the bundles have come ---- */

static bool read_integer(const cJSON *root, const char *name, int64_t *value)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, name));
    char *end = NULL;
    errno = 0;
    if (text && *text)
        *value = strtoll(text, &end, 10);
    return end && !*end && errno == 0;
}

static distil_status read_place(struct export *run, const char *path, distil_error *error)
{
    struct tool_telemetry_place *place = &run->place;
    struct server_problem problem;
    char *text;
    size_t length;
    distil_status status = tool_input_all(path, TOOL_KEY_MOST, &text, &length, error);
    if (status == DISTIL_NOT_FOUND)
        return DISTIL_OK; /* the first bundle */
    if (status)
        return status;
    cJSON *root = server_json_parse(text, length, &problem);
    const char *previous = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "previous"));
    if (!read_integer(root, "number", &place->number) || !read_integer(root, "seq", &place->seq) ||
        !read_integer(root, "until", &place->until) || !previous ||
        strlen(previous) != TOOL_DIGEST_SIZE - 1)
        status = distil_fail(error, DISTIL_FORMAT,
                             "%s: damaged: it says how far the bundles have come", path);
    else
        memcpy(place->previous, previous, TOOL_DIGEST_SIZE);
    cJSON_Delete(root);
    free(text);
    return status;
}

/* exclusive: not over a file that is there. */
static distil_status save(const char *path, const char *text, size_t length, bool exclusive,
                          distil_error *error)
{
    struct weights_replacement file;
    distil_status status = weights_replacement_open(&file, path, 0666, error);
    if (!status) {
        file.exclusive = exclusive;
        fwrite(text, 1, length, file.out);
        status = weights_replacement_finish(&file, error);
    }
    weights_replacement_close(&file);
    return status;
}

static distil_status save_place(const struct export *run, const char *path, distil_error *error)
{
    const struct tool_telemetry_place *place = &run->place;
    char text[400];
    int length = snprintf(text, sizeof text,
                          "{\"number\": \"%" PRId64 "\", \"seq\": \"%" PRId64
                          "\", \"until\": \"%" PRId64 "\", \"previous\": \"%s\"}\n",
                          place->number, place->seq, place->until, place->previous);
    return save(path, text, (size_t)length, false, error);
}

/* ---- a bundle ---- */

static void write_head(FILE *out, const struct export *run)
{
    char made[SERVER_TIMESTAMP_SIZE], installation[TOOL_DIGEST_SIZE];
    tool_telemetry_digest(run->public_key, strlen(run->public_key), installation);
    server_timestamp_write(server_clock(), made);
    fprintf(out,
            "{\n  \"format\": \"" TOOL_TELEMETRY_FORMAT
            "\",\n  \"installation\": \"%.16s\",\n  \"number\": %" PRId64
            ",\n  \"previous\": \"%s\",\n  \"made\": \"%s\",\n  \"distild\": \"" DISTILD_VERSION
            "\",\n  \"cpus\": %d,\n  \"public_key\": ",
            installation, run->place.number + 1, run->place.previous, made, engine_cpu_count());
    tool_json_string(out, run->public_key);
}

static distil_status make_bundle(struct export *run, char **bundle, distil_error *error)
{
    char path[TOOL_PATH];
    size_t length;
    *bundle = NULL;
    distil_status status = path_in(run, SERVER_PREDICTION_FILE, path, error);
    if (status)
        return status;
    FILE *out = open_memstream(bundle, &length);
    if (!out)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory");
    run->range = (struct tool_telemetry_range){
        .after = run->place.seq, .since = run->place.until, .until = server_clock() - grace_ns};
    write_head(out, run);
    status = tool_telemetry_write(out, path, &run->range, error);
    bool failed = ferror(out) != 0;
    failed = fclose(out) != 0 || failed;
    if (!status && (failed || !*bundle))
        status = distil_fail(error, DISTIL_NO_MEMORY, "out of memory");
    return status ? status : tool_telemetry_sign(run->key, bundle, error);
}

/* Opens the state directory's key, alone among the runs of this command. */
static distil_status begin(struct export *run, const char *state_dir, distil_error *error)
{
    char path[TOOL_PATH];
    tool_state_dir(state_dir, run->folder);
    if (!*run->folder)
        return distil_fail(error, DISTIL_NOT_FOUND,
                           "neither --state-dir nor XDG_STATE_HOME nor HOME names a directory");
    distil_status status = path_in(run, "telemetry.lock", path, error);
    if (status)
        return status;
    run->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (run->lock < 0)
        return distil_fail(error, DISTIL_IO, "%s: %s", path, strerror(errno));
    if (flock(run->lock, LOCK_EX | LOCK_NB) != 0)
        return distil_fail(error, DISTIL_BUSY, "%s: another 'distild telemetry' is at work", path);
    status = path_in(run, "telemetry.key", path, error);
    if (!status)
        status = tool_telemetry_key_open(path, &run->key, error);
    return status ? status : tool_telemetry_public(run->key, &run->public_key, error);
}

static void end(struct export *run)
{
    tool_telemetry_key_free(run->key);
    free(run->public_key);
    if (run->lock >= 0)
        close(run->lock);
}

/* The bundle is written before it is noted that it was: a crash between gives its number, and what it
 * tells of, to the next one as well. */
static distil_status export(struct export *run, const char *output, distil_error *error)
{
    char place[TOOL_PATH], name[64], *bundle = NULL;
    distil_status status = path_in(run, "telemetry.json", place, error);
    if (!status)
        status = read_place(run, place, error);
    if (!status)
        status = make_bundle(run, &bundle, error);
    if (!status) {
        snprintf(name, sizeof name, "distild-telemetry-%06" PRId64 ".json", run->place.number + 1);
        output = output ? output : name;
        status = save(output, bundle, strlen(bundle), true, error);
    }
    if (!status) {
        run->place.number++;
        run->place.seq = run->range.last;
        run->place.until = run->range.until;
        tool_telemetry_digest(bundle, strlen(bundle), run->place.previous);
        status = save_place(run, place, error);
    }
    if (!status)
        fprintf(stderr, "%s: number %" PRId64 "\n", output, run->place.number);
    free(bundle);
    return status;
}

static int run_telemetry(const void *given, int count, char **operands)
{
    const struct telemetry_settings *settings = given;
    struct export run = {.lock = -1};
    const char *action = operands[0];
    distil_error error;
    if (strcmp(action, "verify") == 0)
        return count > 1 ? tool_telemetry_verify(settings->key, count - 1, operands + 1)
                         : tool_misused("telemetry", "the bundles to verify are missing");
    if (strcmp(action, "export") != 0 && strcmp(action, "key") != 0)
        return tool_misused("telemetry", "only 'export', 'verify' and 'key' are known");
    if (count > 1)
        return tool_misused("telemetry", "nothing may follow 'export' and 'key'");
    distil_status status = begin(&run, settings->state_dir, &error);
    if (!status && strcmp(action, "export") == 0)
        status = export(&run, settings->output, &error);
    else if (!status)
        fputs(run.public_key, stdout);
    if (!status)
        status = tool_flush(stdout, &error);
    end(&run);
    return status ? tool_failed("telemetry", &error) : TOOL_OK;
}

const struct tool_command tool_telemetry = {
    .name = "telemetry",
    .summary = "Export signed aggregates of what was predicted, or verify them",
    .operands = "export|key|verify [FILE...]",
    .description =
        "For installations in closed networks: what is to be heard back of them is carried out "
        "in files that can be read first.\n\n"
        "'telemetry export' writes a bundle: how many predictions there were since the last one, "
        "by day, model and label, with scores and lengths, and what feedback said of them. No "
        "text, identifier or address is in it. Bundles are numbered, name the digest of the one "
        "before, and are signed by a key that the installation makes for itself.\n\n"
        "'telemetry key' prints the public half of that key. 'telemetry verify' checks bundles, in "
        "the order of their numbers: that each is whole and signed, and that none is missing.",
    .options = options,
    .least_operands = 1,
    .most_operands = -1,
    .run = run_telemetry,
    .settings_size = sizeof(struct telemetry_settings)};

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "server/api_keys.h"
#include "tools/commands.h"
#include "tools/model.h"
#include "tools/output.h"

struct keys_settings {
    const char *scope, *rate, *append;
};

static const struct tool_option options[] = {
    {.name = "scope",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct keys_settings, scope),
     .value = "SCOPES",
     .fallback = "predict",
     .help = "What it may do, with commas between them: predict, metrics, admin"},
    {.name = "rate",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct keys_settings, rate),
     .value = "RATE",
     .help = "How often: 50/s, 600/m:20 (bursts of 20); without it, as the server's --rate-limit"},
    {.name = "append",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct keys_settings, append),
     .value = "FILE",
     .help = "The server's file of keys, to write the line to; it is made where there is none"},
    TOOL_END_OPTIONS};

/* Writes all of it, after a newline where the file lacks its last. */
static bool write_line(int fd, const char *line)
{
    char last = '\n';
    off_t end = lseek(fd, 0, SEEK_END);
    if (end > 0 && pread(fd, &last, 1, end - 1) != 1)
        return false;
    size_t length = strlen(line);
    return (last == '\n' || write(fd, "\n", 1) == 1) &&
           write(fd, line, length) == (ssize_t)length && fsync(fd) == 0;
}

/* Whether a file that holds keys already holds one of this name. Its other faults are found too: no
 * key is added to a file that the server would refuse. */
static distil_status check_file(const char *path, int fd, const char *name, distil_error *error)
{
    const struct server_log silent = {.fd = -1};
    struct server_api_keys *keys;
    if (lseek(fd, 0, SEEK_END) == 0)
        return DISTIL_OK;
    distil_status status = server_api_keys_open(path, &silent, &keys, error);
    if (status)
        return status;
    for (int i = 0; i < keys->count && !status; i++)
        if (strcmp(keys->keys[i].name, name) == 0)
            status = distil_fail(error, DISTIL_INVALID, "%s: there is a key called %s already",
                                 path, name);
    server_api_keys_free(keys);
    return status;
}

static distil_status append(const char *path, const char *name, const char *line,
                            distil_error *error)
{
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    distil_status status = DISTIL_OK;
    if (fd < 0)
        return distil_fail(error, DISTIL_IO, "%s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX)) /* two at once could both find the name free */
        status = distil_fail(error, DISTIL_IO, "%s: %s", path, strerror(errno));
    if (!status)
        status = check_file(path, fd, name, error);
    if (!status && !write_line(fd, line))
        status = distil_fail(error, DISTIL_IO, "%s: %s", path, strerror(errno));
    close(fd);
    return status;
}

static int run_keys(const void *given, int count, char **operands)
{
    const struct keys_settings *settings = given;
    char key[SERVER_API_KEY_SIZE], line[SERVER_API_KEY_LINE];
    distil_error error;
    (void)count;
    if (strcmp(operands[0], "new") != 0)
        return tool_misused("keys", "only 'keys new NAME' is known");
    distil_status status =
        server_api_key_make(operands[1], settings->scope, settings->rate, key, line, &error);
    if (status)
        return tool_misused("keys", error.message);
    if (settings->append)
        status = append(settings->append, operands[1], line, &error);
    else
        fprintf(stderr, "Add this line to the file of --api-keys; the key is shown this once:\n%s",
                line);
    if (!status) {
        puts(key);
        status = tool_flush(stdout, &error);
    }
    explicit_bzero(key, sizeof key);
    return status ? tool_failed("keys", &error) : TOOL_OK;
}

const struct tool_command tool_keys = {
    .name = "keys",
    .summary = "Make an API key for the server",
    .operands = "new NAME",
    .description =
        "Makes a key of 32 random bytes and prints it, this once. The server's file of keys "
        "gets the line with its SHA-256, by which the server knows the key and from which nobody "
        "learns it.\n\n"
        "A running server reads its file again at SIGHUP.",
    .options = options,
    .least_operands = 2,
    .most_operands = 2,
    .run = run_keys,
    .settings_size = sizeof(struct keys_settings)};

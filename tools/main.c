/* main.c: finds the command and runs it. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/model.h"
#include "tools/output.h"

static const struct tool_command *const commands[] = {
    &tool_serve,     &tool_predict,   &tool_embed,     &tool_ask,     &tool_evaluate,
    &tool_convert,   &tool_inspect,   &tool_tokenize,  &tool_bench,   &tool_profile,
    &tool_fit,       &tool_catalogue, &tool_health,    &tool_keys,    &tool_log,
    &tool_recommend, &tool_drift,     &tool_telemetry, &tool_version,
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_overview(FILE *out)
{
    fputs("Usage: distild COMMAND [OPTIONS] [ARGUMENTS]\n\nServes DistilBERT-class text encoders "
          "on CPUs.\n\nCommands:\n",
          out);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n'distild COMMAND --help' or 'distild help COMMAND' tells more about one, 'man "
          "distild' about all.\n",
          out);
}

/* Returns the command of a name; NULL, with a word about the nearest one on standard error, where
 * there is none. */
static const struct tool_command *find(const char *name)
{
    const struct tool_command *nearest = NULL;
    int least = 4;
    for (int i = 0; i < COMMANDS; i++) {
        int distance = tool_distance(name, commands[i]->name);
        if (distance == 0)
            return commands[i];
        if (distance < least && distance < (int)strlen(commands[i]->name)) {
            least = distance;
            nearest = commands[i];
        }
    }
    fprintf(stderr, "distild: unknown command '%.60s'", name);
    if (nearest)
        fprintf(stderr, "; did you mean '%s'?", nearest->name);
    fputs("\nTry 'distild --help'.\n", stderr);
    return NULL;
}

/* The help text of a command, or of the program where it is NULL. */
static int help(const struct tool_command *command)
{
    distil_error error;
    if (command)
        tool_help(command, stdout);
    else
        print_overview(stdout);
    return tool_flush(stdout, &error) ? tool_failed("help", &error) : TOOL_OK;
}

static int run(const struct tool_command *command, int argc, char **argv)
{
    /* Settings hold pointers, numbers and flags: aligned for any of them. */
    union {
        max_align_t align;
        char bytes[TOOL_SETTINGS_MAX];
    } settings;
    struct tool_parsed parsed;
    distil_error error;
    if (command->settings_size > sizeof settings) {
        distil_fail(&error, DISTIL_INVALID, "the settings do not fit");
        return tool_failed(command->name, &error);
    }
    if (tool_parse(command, argc, argv, &settings, &parsed, &error))
        return tool_misused(command->name, error.message);
    if (parsed.help)
        return help(command);
    return command->run(&settings, parsed.count, argv);
}

/* A mapped file that shrank has no bytes to give: reading on ends with SIGBUS, in several threads
 * at once. */
static void end_on_lost_pages(int number, siginfo_t *about, void *context)
{
    static const char message[] = "distild: a mapped model file was cut or can no longer be read; "
                                  "replace models by renaming\n";
    static atomic_flag said = ATOMIC_FLAG_INIT;
    (void)context;
    if (about->si_code != BUS_ADRERR) {
        /* Of another cause: the signal ends the process as usual once this returns. */
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    if (!atomic_flag_test_and_set(&said)) {
        ssize_t written = write(STDERR_FILENO, message, sizeof message - 1);
        (void)written; /* nothing is left to do about it */
        _exit(TOOL_FAILURE);
    }
    for (;;)
        pause(); /* the first thread ends the process */
}

static void set_signals(void)
{
    /* Not SA_RESETHAND: a second thread would end the process before the first has spoken. */
    struct sigaction lost = {.sa_sigaction = end_on_lost_pages, .sa_flags = SA_SIGINFO};
    sigemptyset(&lost.sa_mask);
    sigaction(SIGBUS, &lost, NULL);
    /* A write past the limit on file size then fails with EFBIG, and what was begun is removed. */
    signal(SIGXFSZ, SIG_IGN);
}

int main(int argc, char **argv)
{
    const struct tool_command *command;
    const char *name = argc > 1 ? argv[1] : "";
    set_signals();
    if (argc < 2) {
        print_overview(stderr);
        return TOOL_USAGE;
    }
    if (strcmp(name, "--version") == 0)
        name = "version";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        if (argc < 3 || argv[2][0] == '-')
            return help(NULL);
        command = find(argv[2]);
        return command ? help(command) : TOOL_USAGE;
    }
    command = find(name);
    return command ? run(command, argc - 2, argv + 2) : TOOL_USAGE;
}

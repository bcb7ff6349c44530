#include "tools/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_WIDTH = 80, HELP_COLUMN = 26 };

void tool_variable(char *out, size_t size, const char *option)
{
    size_t n = 0;
    for (const char *s = "DISTILD_"; *s && n + 1 < size; s++)
        out[n++] = *s;
    for (const char *s = option; *s && n + 1 < size; s++)
        out[n++] = *s == '-' ? '_' : (char)toupper((unsigned char)*s);
    out[n] = '\0';
}

int tool_distance(const char *a, const char *b)
{
    enum { MOST = 63 };
    int row[MOST + 1];
    size_t width = strlen(b);
    if (strlen(a) > MOST || width > MOST)
        return 2 * MOST;
    for (int j = 0; j <= (int)width; j++)
        row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= (int)width; j++) {
            int replace = diagonal + (a[i - 1] != b[j - 1]);
            int least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = replace < least ? replace : least;
        }
    }
    return row[width];
}

static bool takes_value(const struct tool_option *option)
{
    return option->kind != TOOL_FLAG && option->kind != TOOL_PICK;
}

static bool is_choice(const char *choices, const char *word)
{
    size_t length = strlen(word);
    for (const char *s = choices; s; s = strchr(s, '|') ? strchr(s, '|') + 1 : NULL) {
        if (strcspn(s, "|") == length && memcmp(s, word, length) == 0)
            return length > 0;
    }
    return false;
}

/* Yes or no, as people spell them; -1 for anything else. */
static int truth(const char *text)
{
    static const char *const words[][2] = {
        {"no", "yes"}, {"false", "true"}, {"off", "on"}, {"0", "1"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        for (int value = 0; value < 2; value++) {
            if (strcmp(text, words[i][value]) == 0)
                return value;
        }
    }
    return -1;
}

static distil_status store_number(const struct tool_option *option, const char *from,
                                  const char *text, char *member, distil_error *error)
{
    char *end;
    errno = 0;
    if (option->kind == TOOL_INTEGER) {
        long number = strtol(text, &end, 10);
        if (end == text || *end || isspace((unsigned char)text[0]))
            return distil_fail(error, DISTIL_INVALID, "%s: '%.60s' is not a whole number", from,
                               text);
        if (errno || (double)number < option->low || (double)number > option->high)
            return distil_fail(error, DISTIL_INVALID, "%s: %.60s is not from %.0f to %.0f", from,
                               text, option->low, option->high);
        *(long *)(void *)member = number;
        return DISTIL_OK;
    }
    double number = strtod(text, &end);
    if (end == text || *end || isspace((unsigned char)text[0]))
        return distil_fail(error, DISTIL_INVALID, "%s: '%.60s' is not a number", from, text);
    if (!(number >= option->low && number <= option->high))
        return distil_fail(error, DISTIL_INVALID, "%s: %.60s is not from %g to %g", from, text,
                           option->low, option->high);
    *(double *)(void *)member = number;
    return DISTIL_OK;
}

static distil_status store_item(const char *from, const char *text, size_t length,
                                struct tool_list *list, distil_error *error)
{
    if (length == 0)
        return distil_fail(error, DISTIL_INVALID, "%s: the value is empty", from);
    if (list->count == TOOL_LIST_MAX)
        return distil_fail(error, DISTIL_INVALID, "%s: more than %d values", from, TOOL_LIST_MAX);
    list->items[list->count] = text;
    list->lengths[list->count++] = length;
    return DISTIL_OK;
}

/* One value of the command line, or all of a variable. */
static distil_status store_items(const char *from, const char *text, struct tool_list *list,
                                 distil_error *error)
{
    distil_status status = DISTIL_OK;
    if (from[0] == '-') {
        if (!list->given)
            *list = (struct tool_list){.given = true};
        return store_item(from, text, strlen(text), list, error);
    }
    for (const char *at = text; at && !status;) {
        const char *comma = strchr(at, ',');
        status = store_item(from, at, comma ? (size_t)(comma - at) : strlen(at), list, error);
        at = comma ? comma + 1 : NULL;
    }
    return status;
}

/* Stores text as the option's value. `from` says where it stood: "--port" or "DISTILD_PORT". */
static distil_status store(const struct tool_option *option, const char *from, const char *text,
                           void *settings, distil_error *error)
{
    char *member = (char *)settings + option->offset;
    int yes;
    switch (option->kind) {
    case TOOL_FLAG:
    case TOOL_PICK:
        yes = truth(text);
        if (yes < 0)
            return distil_fail(error, DISTIL_INVALID, "%s: '%.60s' is neither yes nor no", from,
                               text);
        if (option->kind == TOOL_FLAG)
            *(bool *)(void *)member = yes;
        else if (yes)
            *(int *)(void *)member = option->pick;
        else if (*(int *)(void *)member == option->pick)
            *(int *)(void *)member = 0;
        return DISTIL_OK;
    case TOOL_CHOICE:
        if (!is_choice(option->choices, text))
            return distil_fail(error, DISTIL_INVALID, "%s: '%.60s' is not one of %s", from, text,
                               option->choices);
        *(const char **)(void *)member = text;
        return DISTIL_OK;
    case TOOL_TEXT:
        if (!*text)
            return distil_fail(error, DISTIL_INVALID, "%s: the value is empty", from);
        *(const char **)(void *)member = text;
        return DISTIL_OK;
    case TOOL_LIST:
        return store_items(from, text, (struct tool_list *)(void *)member, error);
    case TOOL_INTEGER:
    case TOOL_REAL:
        return store_number(option, from, text, member, error);
    }
    return distil_fail(error, DISTIL_INVALID, "%s: unknown kind of option", from);
}

static distil_status store_defaults(const struct tool_command *command, void *settings,
                                    distil_error *error)
{
    distil_status status = DISTIL_OK;
    for (const struct tool_option *option = command->options; option->name && !status; option++) {
        if (option->fallback)
            status = store(option, option->name, option->fallback, settings, error);
    }
    for (const struct tool_option *option = command->options; option->name && !status; option++) {
        char variable[80];
        tool_variable(variable, sizeof variable, option->name);
        const char *from = variable, *text = getenv(variable);
        if (option->also && (!text || !*text)) {
            from = option->also;
            text = getenv(option->also);
        }
        if (text && *text)
            status = store(option, from, text, settings, error);
    }
    return status;
}

static distil_status unknown_option(const struct tool_command *command, const char *name,
                                    size_t length, distil_error *error)
{
    char word[64];
    const char *nearest = NULL;
    int least = 4;
    if (length < sizeof word) {
        memcpy(word, name, length);
        word[length] = '\0';
        for (const struct tool_option *option = command->options; option->name; option++) {
            int distance = tool_distance(word, option->name);
            if (distance < least && distance < (int)length) {
                least = distance;
                nearest = option->name;
            }
        }
    }
    if (nearest)
        return distil_fail(error, DISTIL_INVALID, "unknown option '--%.*s'; did you mean '--%s'?",
                           (int)length, name, nearest);
    return distil_fail(error, DISTIL_INVALID, "unknown option '--%.*s'",
                       length < 60 ? (int)length : 60, name);
}

/* Reads the option at argv[*at], with its value where it takes one; *at is left on the last
 * argument used. */
static distil_status parse_long(const struct tool_command *command, int argc, char **argv, int *at,
                                void *settings, distil_error *error)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    for (const struct tool_option *option = command->options; option->name; option++) {
        if (strlen(option->name) != length || memcmp(option->name, name, length) != 0)
            continue;
        char from[80];
        snprintf(from, sizeof from, "--%s", option->name);
        if (equals)
            return store(option, from, equals + 1, settings, error);
        if (!takes_value(option))
            return store(option, from, "yes", settings, error);
        if (*at + 1 >= argc)
            return distil_fail(error, DISTIL_INVALID, "--%s needs a value: %s", option->name,
                               option->value);
        return store(option, from, argv[++*at], settings, error);
    }
    return unknown_option(command, name, length, error);
}

/* The same for short options; several that take no value may stand behind one dash. */
static distil_status parse_short(const struct tool_command *command, int argc, char **argv, int *at,
                                 void *settings, distil_error *error)
{
    for (const char *letter = argv[*at] + 1; *letter; letter++) {
        const struct tool_option *option = command->options;
        while (option->name && option->letter != *letter)
            option++;
        if (!option->name)
            return distil_fail(error, DISTIL_INVALID, "unknown option '-%c'",
                               isprint((unsigned char)*letter) ? *letter : '?');
        char from[3] = {'-', *letter, '\0'};
        if (takes_value(option)) {
            if (!letter[1] && *at + 1 >= argc)
                return distil_fail(error, DISTIL_INVALID, "-%c needs a value: %s", *letter,
                                   option->value);
            return store(option, from, letter[1] ? letter + 1 : argv[++*at], settings, error);
        }
        distil_status status = store(option, from, "yes", settings, error);
        if (status)
            return status;
    }
    return DISTIL_OK;
}

distil_status tool_parse(const struct tool_command *command, int argc, char **argv, void *settings,
                         struct tool_parsed *parsed, distil_error *error)
{
    *parsed = (struct tool_parsed){0};
    memset(settings, 0, command->settings_size);
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            parsed->help = true;
            return DISTIL_OK;
        }
    }
    distil_status status = store_defaults(command, settings, error);
    bool options_end = false;
    for (int i = 0; i < argc && !status; i++) {
        if (options_end || argv[i][0] != '-' || argv[i][1] == '\0')
            argv[parsed->count++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            options_end = true;
        else if (argv[i][1] == '-')
            status = parse_long(command, argc, argv, &i, settings, error);
        else
            status = parse_short(command, argc, argv, &i, settings, error);
    }
    if (status)
        return status;
    if (parsed->count < command->least_operands)
        return distil_fail(error, DISTIL_INVALID, "an argument is missing: %s", command->operands);
    if (command->most_operands >= 0 && parsed->count > command->most_operands)
        return distil_fail(error, DISTIL_INVALID, "unexpected argument '%.60s'",
                           argv[command->most_operands]);
    return DISTIL_OK;
}

void tool_wrap(FILE *out, const char *text, int column, int indent, int width)
{
    bool first = true; /* of its line */
    while (*text) {
        if (*text == '\n') {
            fprintf(out, "\n%*s", *(text + 1) == '\n' ? 0 : indent, "");
            column = indent;
            first = true;
            text++;
            continue;
        }
        if (*text == ' ') {
            text++;
            continue;
        }
        int length = (int)strcspn(text, " \n");
        if (!first && column + 1 + length > width) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        column += fprintf(out, "%s%.*s", first ? "" : " ", length, text);
        first = false;
        text += length;
    }
    fputc('\n', out);
}

static void help_option(const struct tool_option *option, FILE *out)
{
    int column = fprintf(out, option->letter ? "  -%c, " : "      ", option->letter);
    column += fprintf(out, "--%s", option->name);
    if (option->value)
        column += fprintf(out, " %s", option->value);
    if (column > HELP_COLUMN - 2) {
        fputc('\n', out);
        column = 0;
    }
    fprintf(out, "%*s", HELP_COLUMN - column, "");
    char text[800], variable[80];
    tool_variable(variable, sizeof variable, option->name);
    bool shown = option->fallback && takes_value(option);
    snprintf(text, sizeof text, "%s (%s%s%s%s%s%s)", option->help, shown ? "default " : "",
             shown ? option->fallback : "", shown ? ", " : "", variable, option->also ? " or " : "",
             option->also ? option->also : "");
    tool_wrap(out, text, HELP_COLUMN, HELP_COLUMN, HELP_WIDTH);
}

void tool_help(const struct tool_command *command, FILE *out)
{
    fprintf(out, "Usage: distild %s [OPTIONS]%s%s\n\n", command->name,
            *command->operands ? " " : "", command->operands);
    tool_wrap(out, command->description, 0, 0, HELP_WIDTH);
    fputs("\nOptions:\n", out);
    for (const struct tool_option *option = command->options; option->name; option++)
        help_option(option, out);
    fputs("  -h, --help              Show this text\n\n", out);
    tool_wrap(out,
              "Each option can be given as the environment variable named beside it; an option "
              "wins over its "
              "variable. --option=no turns a yes-or-no option off.",
              0, 0, HELP_WIDTH);
    char note[200];
    snprintf(note, sizeof note, "Exit status: 0 success, 1 failure, 2 wrong usage%s%s.",
             command->exit_note ? ", " : "", command->exit_note ? command->exit_note : "");
    fputc('\n', out);
    tool_wrap(out, note, 0, 0, HELP_WIDTH);
}

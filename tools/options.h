/* options.h: a command's options as one table, from which its help text, its environment variables
 * and its parsing come. */
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "weights/distil_status.h"

/* What a command returns to the shell. */
enum tool_exit {
    TOOL_OK = 0,
    TOOL_FAILURE = 1,
    TOOL_USAGE = 2,
    TOOL_BELOW = 3,      /* evaluate: the accuracy is under --min-accuracy */
    TOOL_UNANSWERED = 4, /* ask: a question has no answer */
    TOOL_DRIFTED = 5     /* drift: the predictions have drifted */
};

/* What an option stores in its member of the settings. */
enum tool_kind {
    TOOL_FLAG,   /* bool: true */
    TOOL_PICK,   /* int: the option's `pick`; several options may share a member, the last one given
                    counts */
    TOOL_TEXT,   /* const char * */
    TOOL_LIST,   /* struct tool_list: one more each time it is given */
    TOOL_CHOICE, /* const char *: one of the words of `choices` */
    TOOL_INTEGER, /* long from low to high */
    TOOL_REAL     /* double from low to high */
};

enum { TOOL_LIST_MAX = 64 };

/* The values of an option that can be given several times. In a variable they have commas between
 * them. */
struct tool_list {
    int count;
    bool given; /* on the command line, so that its variable does not count */
    const char *items[TOOL_LIST_MAX];
    size_t lengths[TOOL_LIST_MAX]; /* of the items, which go on in a variable */
};

struct tool_option {
    const char *name; /* without dashes; NULL ends a table */
    char letter;      /* of the short form, 0 for none */
    enum tool_kind kind;
    size_t offset;        /* of the member in the settings */
    const char *value;    /* what the help text calls the value; NULL for TOOL_FLAG and TOOL_PICK */
    const char *help;     /* one sentence without a final stop */
    const char *fallback; /* the default, spelt as a user would; NULL leaves the member zero */
    const char *choices;  /* TOOL_CHOICE: words with | between them */
    const char *also;     /* a variable that counts where its own is unset; NULL for none */
    int pick;
    double low, high;
};

struct tool_command {
    const char *name;
    const char *summary;     /* one line, for the list of commands */
    const char *operands;    /* as the usage line shows them, "" for none */
    const char *description; /* paragraphs of the help text; "\n\n" between them */
    const char *exit_note;   /* an exit status beyond the usual ones; NULL for none */
    const struct tool_option *options;
    int least_operands, most_operands; /* most: -1 for any number */
    /* Runs with the operands and the settings filled in; returns an exit status. */
    int (*run)(const void *settings, int count, char **operands);
    size_t settings_size; /* at most TOOL_SETTINGS_MAX */
};

enum { TOOL_SETTINGS_MAX = 2048 };

/* What a command line asked for. */
struct tool_parsed {
    bool help;
    int count; /* operands; they are moved to the front of argv */
};

/* Fills *settings, zeroed first, from the table's defaults, then the environment, then the
 * arguments argv[0..argc). A variable that is empty counts as unset. DISTIL_INVALID names the
 * option or variable and what was wrong with it; nothing is wrong with operands when help is asked
 * for. */
distil_status tool_parse(const struct tool_command *command, int argc, char **argv, void *settings,
                         struct tool_parsed *parsed, distil_error *error);

/* The environment variable of an option: DISTILD_MAX_QUEUE for "max-queue". Cut at size. */
void tool_variable(char *out, size_t size, const char *option);

/* Prints the command's help text, made from its table. */
void tool_help(const struct tool_command *command, FILE *out);

/* Changes to make one word into the other: insertions, deletions, replacements. Words over 63 bytes
 * count as far. */
int tool_distance(const char *a, const char *b);

/* Prints text, which may hold "\n\n", in lines of at most `width` columns; lines after the first
 * start with `indent` spaces. `column` is where the first line stands already. */
void tool_wrap(FILE *out, const char *text, int column, int indent, int width);

#endif

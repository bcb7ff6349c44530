/* The option table: defaults, environment, arguments, and what is said of wrong ones. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "tests/suite.h"
#include "tools/commands.h"
#include "tools/model.h"
#include "tools/options.h"

struct settings {
    bool loud;
    int format;
    const char *name, *level;
    long count;
    double share;
    struct tool_list words;
};

static const struct tool_option options[] = {{.name = "loud",
                                              .letter = 'l',
                                              .kind = TOOL_FLAG,
                                              .offset = offsetof(struct settings, loud),
                                              .help = "Shout"},
                                             {.name = "json",
                                              .kind = TOOL_PICK,
                                              .offset = offsetof(struct settings, format),
                                              .pick = 1,
                                              .help = "As JSON"},
                                             {.name = "tsv",
                                              .kind = TOOL_PICK,
                                              .offset = offsetof(struct settings, format),
                                              .pick = 2,
                                              .help = "As TSV"},
                                             {.name = "name",
                                              .letter = 'n',
                                              .kind = TOOL_TEXT,
                                              .offset = offsetof(struct settings, name),
                                              .value = "NAME",
                                              .also = "TRY_NAME",
                                              .help = "Who"},
                                             {.name = "log-level",
                                              .kind = TOOL_CHOICE,
                                              .offset = offsetof(struct settings, level),
                                              .value = "LEVEL",
                                              .choices = "error|warn|info",
                                              .fallback = "warn",
                                              .help = "What to log"},
                                             {.name = "max-count",
                                              .letter = 'c',
                                              .kind = TOOL_INTEGER,
                                              .offset = offsetof(struct settings, count),
                                              .value = "N",
                                              .low = 1,
                                              .high = 100,
                                              .fallback = "7",
                                              .help = "How many"},
                                             {.name = "share",
                                              .kind = TOOL_REAL,
                                              .offset = offsetof(struct settings, share),
                                              .value = "X",
                                              .low = 0,
                                              .high = 1,
                                              .help = "How much"},
                                             {.name = "word",
                                              .letter = 'w',
                                              .kind = TOOL_LIST,
                                              .offset = offsetof(struct settings, words),
                                              .value = "WORD",
                                              .help = "One more"},
                                             TOOL_END_OPTIONS};

static const struct tool_command command = {.name = "try",
                                            .summary = "",
                                            .operands = "[TEXT...]",
                                            .description = "Tries.",
                                            .options = options,
                                            .most_operands = -1,
                                            .settings_size = sizeof(struct settings)};

enum { MOST = 16 };
static struct settings found;
static struct tool_parsed parsed;
static distil_error error;
static char *arguments[MOST];

/* Parses words with single spaces between them. */
static distil_status parse_with(const struct tool_command *which, const char *line, void *settings)
{
    static char copy[400];
    int count = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word && count < MOST; word = strtok(NULL, " "))
        arguments[count++] = word;
    error.message[0] = '\0';
    return tool_parse(which, count, arguments, settings, &parsed, &error);
}

static distil_status parse(const char *line)
{
    return parse_with(&command, line, &found);
}

static void clear_environment(void)
{
    unsetenv("DISTILD_LOUD");
    unsetenv("DISTILD_JSON");
    unsetenv("DISTILD_NAME");
    unsetenv("TRY_NAME");
    unsetenv("DISTILD_LOG_LEVEL");
    unsetenv("DISTILD_MAX_COUNT");
    unsetenv("DISTILD_SHARE");
    unsetenv("DISTILD_WORD");
}

START_TEST(defaults_come_from_the_table)
{
    ck_assert_int_eq(parse(""), DISTIL_OK);
    ck_assert(!found.loud && !found.name && found.format == 0);
    ck_assert_str_eq(found.level, "warn");
    ck_assert_int_eq(found.count, 7);
    ck_assert_int_eq(parsed.count, 0);
}
END_TEST

START_TEST(reads_every_spelling)
{
    ck_assert_int_eq(parse("a --max-count 9 b --share=0.25 -l -nbob --json -- --tsv"), DISTIL_OK);
    ck_assert(found.loud);
    ck_assert_int_eq(found.count, 9);
    ck_assert_double_eq(found.share, 0.25);
    ck_assert_str_eq(found.name, "bob");
    ck_assert_int_eq(found.format, 1);
    ck_assert_int_eq(parsed.count, 3);
    ck_assert_str_eq(arguments[0], "a");
    ck_assert_str_eq(arguments[1], "b");
    ck_assert_str_eq(arguments[2], "--tsv");
    ck_assert_int_eq(parse("-lc 3 -n carol -"), DISTIL_OK);
    ck_assert(found.loud);
    ck_assert_int_eq(found.count, 3);
    ck_assert_str_eq(found.name, "carol");
    ck_assert_str_eq(arguments[0], "-");
    ck_assert_int_eq(parse("--json --tsv --loud=no"), DISTIL_OK);
    ck_assert_int_eq(found.format, 2);
    ck_assert(!found.loud);
}
END_TEST

START_TEST(an_option_wins_over_its_variable)
{
    setenv("DISTILD_MAX_COUNT", "50", 1);
    setenv("DISTILD_LOUD", "true", 1);
    setenv("DISTILD_JSON", "1", 1);
    setenv("DISTILD_LOG_LEVEL", "", 1);
    ck_assert_int_eq(parse(""), DISTIL_OK);
    ck_assert_int_eq(found.count, 50);
    ck_assert(found.loud);
    ck_assert_int_eq(found.format, 1);
    ck_assert_str_eq(found.level, "warn");
    ck_assert_int_eq(parse("--max-count 2 --loud=off --tsv"), DISTIL_OK);
    ck_assert_int_eq(found.count, 2);
    ck_assert(!found.loud);
    ck_assert_int_eq(found.format, 2);
    ck_assert_int_eq(parse("--json=no"), DISTIL_OK);
    ck_assert_int_eq(found.format, 0);
}
END_TEST

START_TEST(another_variable_counts_where_its_own_is_unset)
{
    setenv("TRY_NAME", "dave", 1);
    ck_assert_int_eq(parse(""), DISTIL_OK);
    ck_assert_str_eq(found.name, "dave");
    setenv("DISTILD_NAME", "", 1);
    ck_assert_int_eq(parse(""), DISTIL_OK);
    ck_assert_str_eq(found.name, "dave");
    setenv("DISTILD_NAME", "erin", 1);
    ck_assert_int_eq(parse(""), DISTIL_OK);
    ck_assert_str_eq(found.name, "erin");
    ck_assert_int_eq(parse("-n frank"), DISTIL_OK);
    ck_assert_str_eq(found.name, "frank");
}
END_TEST

static void expect_words(const char *a, const char *b)
{
    ck_assert_int_eq(found.words.count, b ? 2 : 1);
    ck_assert_uint_eq(found.words.lengths[0], strlen(a));
    ck_assert(strncmp(found.words.items[0], a, strlen(a)) == 0);
    ck_assert(!b || (found.words.lengths[1] == strlen(b) && strcmp(found.words.items[1], b) == 0));
}

START_TEST(lists_grow)
{
    char line[400] = "";
    ck_assert_int_eq(parse(""), DISTIL_OK);
    ck_assert_int_eq(found.words.count, 0);
    ck_assert_int_eq(parse("--word one -w two,three"), DISTIL_OK);
    expect_words("one", "two,three");
    setenv("DISTILD_WORD", "four,five=5", 1);
    ck_assert_int_eq(parse(""), DISTIL_OK);
    expect_words("four", "five=5");
    ck_assert_int_eq(parse("-w six"), DISTIL_OK);
    expect_words("six", NULL);
    setenv("DISTILD_WORD", "four,", 1);
    ck_assert_int_eq(parse(""), DISTIL_INVALID);
    ck_assert_str_eq(error.message, "DISTILD_WORD: the value is empty");
    for (int i = 0; i <= TOOL_LIST_MAX; i++)
        strcat(line, i ? ",x" : "x");
    setenv("DISTILD_WORD", line, 1);
    ck_assert_int_eq(parse(""), DISTIL_INVALID);
    ck_assert_str_eq(error.message, "DISTILD_WORD: more than 64 values");
}
END_TEST

/* A line or a variable, and words of the message about it. */
static const struct {
    const char *line, *variable, *value, *message;
} wrong[] = {
    {"--max-cuont 3", NULL, NULL, "unknown option '--max-cuont'; did you mean '--max-count'?"},
    {"--zzzzzzzzzz", NULL, NULL, "unknown option '--zzzzzzzzzz'"},
    {"-z", NULL, NULL, "unknown option '-z'"},
    {"--max-count", NULL, NULL, "--max-count needs a value: N"},
    {"-c", NULL, NULL, "-c needs a value: N"},
    {"--max-count 0", NULL, NULL, "--max-count: 0 is not from 1 to 100"},
    {"--max-count 101", NULL, NULL, "--max-count: 101 is not from 1 to 100"},
    {"--max-count 99999999999999999999", NULL, NULL, "is not from 1 to 100"},
    {"--max-count 3x", NULL, NULL, "--max-count: '3x' is not a whole number"},
    {"--max-count=", NULL, NULL, "--max-count: '' is not a whole number"},
    {"--max-count 1.5", NULL, NULL, "'1.5' is not a whole number"},
    {"--share 1.5", NULL, NULL, "--share: 1.5 is not from 0 to 1"},
    {"--share nan", NULL, NULL, "--share: nan is not from 0 to 1"},
    {"--share half", NULL, NULL, "--share: 'half' is not a number"},
    {"--log-level loud", NULL, NULL, "--log-level: 'loud' is not one of error|warn|info"},
    {"--log-level err", NULL, NULL, "'err' is not one of"},
    {"--log-level error|warn", NULL, NULL, "is not one of"},
    {"--name=", NULL, NULL, "--name: the value is empty"},
    {"--loud=maybe", NULL, NULL, "--loud: 'maybe' is neither yes nor no"},
    {"", "DISTILD_MAX_COUNT", "many", "DISTILD_MAX_COUNT: 'many' is not a whole number"},
    {"", "DISTILD_LOG_LEVEL", "chatty", "DISTILD_LOG_LEVEL: 'chatty' is not one of"},
    {"", "DISTILD_JSON", "maybe", "DISTILD_JSON: 'maybe' is neither yes nor no"},
};

START_TEST(says_what_is_wrong)
{
    if (wrong[_i].variable)
        setenv(wrong[_i].variable, wrong[_i].value, 1);
    ck_assert_int_eq(parse(wrong[_i].line), DISTIL_INVALID);
    ck_assert_msg(strstr(error.message, wrong[_i].message) != NULL, "'%s' says '%s', not '%s'",
                  wrong[_i].line, error.message, wrong[_i].message);
}
END_TEST

START_TEST(counts_operands)
{
    char settings[TOOL_SETTINGS_MAX];
    ck_assert_int_eq(parse_with(&tool_convert, "", settings), DISTIL_INVALID);
    ck_assert_str_eq(error.message, "an argument is missing: DIR");
    ck_assert_int_eq(parse_with(&tool_convert, "a.tsv b.tsv", settings), DISTIL_INVALID);
    ck_assert_str_eq(error.message, "unexpected argument 'b.tsv'");
    ck_assert_int_eq(parse_with(&tool_convert, "--help", settings), DISTIL_OK);
    ck_assert(parsed.help);
}
END_TEST

START_TEST(measures_distance)
{
    ck_assert_int_eq(tool_distance("predict", "predict"), 0);
    ck_assert_int_eq(tool_distance("", "abc"), 3);
    ck_assert_int_eq(tool_distance("perdict", "predict"), 2);
    ck_assert_int_eq(tool_distance("kitten", "sitting"), 3);
    char longest[100];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    ck_assert_int_gt(tool_distance(longest, "a"), 50);
    ck_assert_int_gt(tool_distance("a", longest), 50);
}
END_TEST

static const struct tool_command *const commands[] = {&tool_serve,   &tool_predict, &tool_evaluate,
                                                      &tool_convert, &tool_inspect, &tool_tokenize,
                                                      &tool_health,  &tool_version};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

/* Every command's own table holds together: defaults parse, names are unique, and help names each
 * option, default and variable in lines that fit a terminal. */
START_TEST(tables_hold_together)
{
    const struct tool_command *which = commands[_i];
    char settings[TOOL_SETTINGS_MAX], *text = NULL, variable[80];
    size_t size = 0;
    ck_assert_uint_le(which->settings_size, sizeof settings);
    parse_with(which, "x", settings);
    ck_assert_msg(error.message[0] == '\0' || strstr(error.message, "argument"), "%s",
                  error.message);
    FILE *out = open_memstream(&text, &size);
    ck_assert_ptr_nonnull(out);
    tool_help(which, out);
    fclose(out);
    for (const struct tool_option *option = which->options; option->name; option++) {
        tool_variable(variable, sizeof variable, option->name);
        ck_assert_msg(strstr(text, variable) != NULL, "help of %s lacks %s", which->name, variable);
        ck_assert(!option->also || strstr(text, option->also));
        ck_assert_uint_lt(option->offset, which->settings_size);
        for (const struct tool_option *other = option + 1; other->name; other++) {
            ck_assert_str_ne(option->name, other->name);
            ck_assert(!option->letter || option->letter != other->letter);
        }
    }
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        ck_assert_msg(strlen(line) <= 80, "help of %s has a long line: %s", which->name, line);
    free(text);
}
END_TEST

START_TEST(offers_every_level_of_the_kernels)
{
    char expected[200] = "";
    for (int i = 0; i < KERN_LEVELS; i++) {
        if (!kern_level_native((enum kern_level)i))
            continue;
        strcat(expected, i ? "|" : "");
        strcat(expected, kern_level_name((enum kern_level)i));
    }
    ck_assert_str_eq(TOOL_CPU_LEVELS, expected);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tests = tcase_create("options");
    tcase_add_checked_fixture(tests, clear_environment, clear_environment);
    tcase_add_test(tests, defaults_come_from_the_table);
    tcase_add_test(tests, reads_every_spelling);
    tcase_add_test(tests, lists_grow);
    tcase_add_test(tests, an_option_wins_over_its_variable);
    tcase_add_test(tests, another_variable_counts_where_its_own_is_unset);
    tcase_add_loop_test(tests, says_what_is_wrong, 0, (int)(sizeof wrong / sizeof wrong[0]));
    tcase_add_test(tests, counts_operands);
    tcase_add_test(tests, measures_distance);
    tcase_add_loop_test(tests, tables_hold_together, 0, COMMANDS);
    tcase_add_test(tests, offers_every_level_of_the_kernels);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

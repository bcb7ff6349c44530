/* The models of `distild serve`: what --model is read as, and which bundled ones stand beside. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suite.h"
#include "tools/served.h"

static const distil_options engine = {.precision = "fp32"};
static struct tool_served served;
static distil_error error;

static distil_status read_items(int count, const char *const *items)
{
    struct tool_list list = {.count = count};
    for (int i = 0; i < count; i++) {
        list.items[i] = items[i];
        list.lengths[i] = strlen(items[i]);
    }
    return tool_served_read(&list, &engine, &served, &error);
}

static void is(int i, const char *name, const char *path)
{
    ck_assert_int_gt(served.count, i);
    if (name)
        ck_assert_str_eq(served.each[i].name, name);
    else
        ck_assert_ptr_null(served.each[i].name);
    ck_assert_str_eq(served.each[i].path, path);
    ck_assert_str_eq(served.each[i].engine.precision, "fp32");
}

START_TEST(names_stand_before_paths)
{
    const char *const items[] = {"a.distild", "b=c", "v1.2_x-y=/m/d=e", "/m/d=e", "=f"};
    ck_assert_int_eq(read_items(5, items), DISTIL_OK);
    ck_assert_int_eq(served.count, 5);
    is(0, NULL, "a.distild");
    is(1, "b", "c");
    is(2, "v1.2_x-y", "/m/d=e");
    is(3, NULL, "/m/d=e");
    is(4, NULL, "=f");
    ck_assert_int_eq(read_items(0, NULL), DISTIL_OK);
    ck_assert_int_eq(served.count, 0);
}
END_TEST

/* In a variable, where the next one follows. */
START_TEST(an_item_ends_where_it_is_said_to)
{
    const struct tool_list list = {.count = 1, .items = {"a=b,c=d"}, .lengths = {3}};
    ck_assert_int_eq(tool_served_read(&list, &engine, &served, &error), DISTIL_OK);
    is(0, "a", "b");
}
END_TEST

static void expect_refused(const char *item, const char *told)
{
    char message[200];
    ck_assert_int_eq(read_items(1, &item), DISTIL_INVALID);
    snprintf(message, sizeof message,
             "--model: '%s' is not a PATH or a NAME=PATH, with a name of at most 63 bytes", told);
    ck_assert_str_eq(error.message, message);
}

START_TEST(bad_items_are_refused)
{
    char item[TOOL_SERVED_PATH + 2], told[61] = "";
    expect_refused("", "");
    expect_refused("name=", "name=");
    memset(item, 'n', sizeof item);
    memset(told, 'n', 60);
    memcpy(item + TOOL_SERVED_NAME, "=a", 3);
    expect_refused(item, told); /* its name is a byte too long */
    memset(item, 'n', sizeof item);
    item[TOOL_SERVED_PATH] = '\0';
    expect_refused(item, told); /* and this one's path */
    item[TOOL_SERVED_PATH - 1] = '\0';
    ck_assert_int_eq(read_items(1, (const char *const[]){item}), DISTIL_OK);
}
END_TEST

START_TEST(bundled_models_have_the_tasks_that_are_missing)
{
    char tiny[4096];
    const char *item = tiny;
    char *path;
    snprintf(tiny, sizeof tiny, "mine=%s/tests/golden/tiny/distilbert-single",
             getenv("DISTILD_SOURCE_DIR"));
    ck_assert_int_eq(read_items(1, &item), DISTIL_OK);
    ck_assert_msg(tool_served_add_bundled(&engine, &served, &error) == DISTIL_OK, "%s",
                  error.message);
    ck_assert_int_eq(served.count, 3);
    is(0, "mine", tiny + strlen("mine="));
    ck_assert_int_eq(distil_bundled(DISTIL_TASK_NONE, &path, &error), DISTIL_OK);
    is(1, "all-minilm-l6-v2", path);
    free(path);
    ck_assert_int_eq(distil_bundled(DISTIL_TASK_ANSWER, &path, &error), DISTIL_OK);
    is(2, "qa-minilm", path);
    free(path);
    /* one that cannot be opened has no task */
    item = "no/such/model";
    ck_assert_int_eq(read_items(1, &item), DISTIL_OK);
    ck_assert_int_eq(tool_served_add_bundled(&engine, &served, &error), DISTIL_OK);
    ck_assert_int_eq(served.count, 4);
    ck_assert_str_eq(served.each[1].name, "sst2-minilm");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        names_stand_before_paths,
        an_item_ends_where_it_is_said_to,
        bad_items_are_refused,
        bundled_models_have_the_tasks_that_are_missing,
    };
    return run_tests("served", 20, tests, sizeof tests / sizeof *tests);
}

/* test_log.c: the log, its writer, and what ties requests together in it. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/log_writer.h"
#include "server/queue.h"
#include "server/trace.h"
#include "tests/suite.h"

enum { MUCH = 4 << 20 };

/* A log into a pipe, with a writer. */
struct piped {
    int ends[2];
    struct server_log log;
};

static void open_log(struct piped *p, bool json)
{
    ck_assert_int_eq(pipe(p->ends), 0);
    p->log = (struct server_log){.fd = p->ends[1], .level = SERVER_LOG_INFO, .json = json};
    p->log.writer = server_log_writer_start(&p->log);
    ck_assert_ptr_nonnull(p->log.writer);
}

/* Ends the writer and returns all that was written, to be freed. */
static char *close_log(struct piped *p)
{
    char *text = calloc(1, MUCH);
    size_t length = 0;
    ssize_t got;
    ck_assert_ptr_nonnull(text);
    server_log_writer_free(p->log.writer);
    close(p->ends[1]);
    while ((got = read(p->ends[0], text + length, MUCH - 1 - length)) > 0)
        length += (size_t)got;
    close(p->ends[0]);
    return text;
}

static int count_of(const char *text, const char *part)
{
    int count = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        count++;
    return count;
}

START_TEST(lines_are_written_in_order)
{
    struct piped p;
    char *text, expected[40];
    const char *at;
    int i;
    open_log(&p, false);
    for (i = 0; i < 300; i++)
        server_log_printf(&p.log, SERVER_LOG_INFO, "event %d.", i);
    server_log_printf(&p.log, SERVER_LOG_DEBUG, "not to be written");
    server_log_writer_flush(p.log.writer);
    text = close_log(&p);
    for (i = 0, at = text; i < 300; i++) {
        snprintf(expected, sizeof(expected), "Z info event %d.\n", i);
        at = strstr(at, expected);
        ck_assert_msg(at != NULL, "%s is missing", expected);
    }
    ck_assert_ptr_null(strstr(text, "not to be written"));
    free(text);
}
END_TEST

START_TEST(repeated_warnings_are_held_back_and_counted)
{
    struct piped p;
    char *text;
    int i;
    open_log(&p, true);
    for (i = 0; i < 1000; i++) {
        server_log_printf(&p.log, SERVER_LOG_WARN, "disk %d is full", i);
        if (i < 3)
            server_log_printf(&p.log, SERVER_LOG_WARN, "rare");
        if (i < 100)
            server_log_printf(&p.log, SERVER_LOG_INFO, "ordinary");
    }
    ck_assert_uint_eq(server_log_writer_held(p.log.writer), 995);
    text = close_log(&p);
    for (i = 0; i < 5; i++) {
        char line[40];
        snprintf(line, sizeof(line), "\"disk %d is full\"}\n", i);
        ck_assert_ptr_nonnull(strstr(text, line));
    }
    ck_assert_ptr_nonnull(
        strstr(text, "\"warn\",\"message\":\"disk 999 is full\",\"repeated\":995}\n"));
    ck_assert_int_eq(count_of(text, "disk"), 6);
    ck_assert_int_eq(count_of(text, "rare"), 3);
    ck_assert_int_eq(count_of(text, "ordinary"), 100);
    free(text);
}
END_TEST

/* Nobody reads until all is logged: the one who logs does not wait, and what is lost is counted. */
START_TEST(a_stuck_reader_holds_nobody_up)
{
    enum { LINES = 20000 };
    struct piped p;
    char *text, padding[201];
    int64_t began = server_now();
    uint64_t dropped;
    int i;
    memset(padding, 'x', sizeof(padding) - 1);
    padding[sizeof(padding) - 1] = '\0';
    open_log(&p, false);
    for (i = 0; i < LINES; i++)
        server_log_printf(&p.log, SERVER_LOG_INFO, "%s", padding);
    ck_assert_int_lt((server_now() - began) / 1000000, patience_ms());
    dropped = server_log_writer_dropped(p.log.writer);
    ck_assert_uint_gt(dropped, LINES / 2);
    ck_assert_uint_lt(dropped, LINES - 3000);
    /* it ends, too, without waiting for the reader for long */
    began = server_now();
    text = close_log(&p);
    ck_assert_int_lt((server_now() - began) / 1000000, patience_ms());
    ck_assert_int_gt(count_of(text, padding), 100);
    free(text);
}
END_TEST

static void *read_all(void *argument)
{
    struct piped *p = argument;
    char *text = calloc(1, MUCH);
    size_t length = 0;
    ssize_t got;
    while ((got = read(p->ends[0], text + length, MUCH - 1 - length)) > 0)
        length += (size_t)got;
    return text;
}

/* As when the last line is written after the writer has ended. */
START_TEST(without_a_writer_it_ends_too)
{
    struct server_log log = {.level = SERVER_LOG_INFO};
    int64_t began = server_now();
    int ends[2];
    char page[4096];
    memset(page, 'x', sizeof(page));
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    while (write(ends[1], page, sizeof(page)) > 0)
        continue;
    ck_assert_int_eq(fcntl(ends[1], F_SETFL, 0), 0);
    log.fd = ends[1];
    server_log_printf(&log, SERVER_LOG_INFO, "nobody reads this");
    server_log_announce(&log, "nor this");
    ck_assert_int_lt((server_now() - began) / 1000000, patience_ms());
    ck_assert_int_gt(read(ends[0], page, sizeof(page)), 0);
    server_log_printf(&log, SERVER_LOG_INFO, "but this");
    while (read(ends[0], page, sizeof(page)) == (ssize_t)sizeof(page))
        continue;
    ck_assert_ptr_nonnull(memmem(page, sizeof(page), "info but this\n", 14));
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(what_was_lost_is_told)
{
    struct piped p;
    pthread_t reader;
    void *text;
    int i;
    open_log(&p, false);
    for (i = 0; i < 20000; i++)
        server_log_printf(&p.log, SERVER_LOG_INFO, "%0200d", i);
    ck_assert_int_eq(pthread_create(&reader, NULL, read_all, &p), 0);
    server_log_writer_flush(p.log.writer);
    server_log_writer_free(p.log.writer);
    close(p.ends[1]);
    pthread_join(reader, &text);
    close(p.ends[0]);
    ck_assert_ptr_nonnull(strstr(text, "Z warn lines of the log were dropped lines=1"));
    ck_assert_ptr_nonnull(strstr(text, "000000\n"));
    free(text);
}
END_TEST

START_TEST(the_journal_gets_priorities)
{
    static const char *const begins[] = {"<3>", "<4>", "<6>"};
    struct server_log_field field = {.name = "n", .kind = SERVER_LOG_INTEGER, .integer = 7};
    struct piped p;
    struct stat file;
    char *text, name[80];
    int json, i;
    for (json = 0; json < 2; json++) {
        const char *at;
        open_log(&p, json);
        p.log.journal = true;
        for (i = 0; i < 3; i++)
            server_log_event(&p.log, (enum server_log_level)i, "m", &field, 1);
        server_log_announce(&p.log, "here %d", 1);
        text = close_log(&p);
        for (i = 0, at = text; i < 3; i++) {
            ck_assert_int_eq(strncmp(at, begins[i], 3), 0);
            at = strchr(at, '\n') + 1;
        }
        ck_assert_int_eq(strncmp(at, json ? "<6>{" : "<6>here 1\n", 4), 0);
        free(text);
    }
    open_log(&p, false);
    ck_assert_int_eq(fstat(p.ends[1], &file), 0);
    snprintf(name, sizeof(name), "%llu:%llu", (unsigned long long)file.st_dev,
             (unsigned long long)file.st_ino);
    ck_assert(server_log_is_journal(p.ends[1], name));
    ck_assert(!server_log_is_journal(p.ends[1], NULL));
    ck_assert(!server_log_is_journal(p.ends[1], "1:2"));
    ck_assert(!server_log_is_journal(-1, name));
    free(close_log(&p));
}
END_TEST

/* ---- traces ---- */

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

START_TEST(trace_contexts)
{
    static const struct {
        const char *value;
        bool good;
    } cases[] = {
        {"00-" TRACE "-" PARENT "-01", true},
        {"00-" TRACE "-" PARENT "-00", true},
        {"00-" TRACE "-" PARENT "-ff", true},
        {"cc-" TRACE "-" PARENT "-01", true},
        {"cc-" TRACE "-" PARENT "-01-what-the-future-holds", true},
        {"cc-" TRACE "-" PARENT "-01.what", false},
        {"00-" TRACE "-" PARENT "-01-more", false},
        {"00-" TRACE "-" PARENT "-01 ", false},
        {"ff-" TRACE "-" PARENT "-01", false},
        {"0-" TRACE "-" PARENT "-01", false},
        {"00-00000000000000000000000000000000-" PARENT "-01", false},
        {"00-" TRACE "-0000000000000000-01", false},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", false},
        {"00-" TRACE "-00f067aa0ba902bg-01", false},
        {"00-" TRACE "-" PARENT "-0x", false},
        {"00-" TRACE "-" PARENT "-1", false},
        {"00-" TRACE "_" PARENT "-01", false},
        {"00-" TRACE "-" PARENT, false},
        {"00", false},
        {"", false},
    };
    struct server_trace trace;
    char value[SERVER_TRACE_PARENT_SIZE];
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ck_assert_msg(server_trace_parse(cases[i].value, &trace) == cases[i].good, "%s",
                      cases[i].value);
        ck_assert_str_eq(trace.trace_id, cases[i].good ? TRACE : "");
        ck_assert_str_eq(trace.parent_id, cases[i].good ? PARENT : "");
    }
    server_trace_parse(cases[0].value, &trace);
    server_trace_make_id(1, 2, trace.span_id);
    server_trace_print(&trace, value);
    ck_assert_int_eq(strncmp(value, "00-" TRACE "-", 36), 0);
    ck_assert_str_eq(value + 52, "-01");
    ck_assert_int_ne(strncmp(value + 36, PARENT, 16), 0);
    server_trace_parse(cases[1].value, &trace);
    ck_assert(!trace.sampled);
}
END_TEST

START_TEST(ids_differ)
{
    char ids[1000][SERVER_SPAN_ID_SIZE], other[SERVER_SPAN_ID_SIZE];
    int i, k;
    for (i = 0; i < 1000; i++) {
        server_trace_make_id(7, (uint64_t)i, ids[i]);
        ck_assert_uint_eq(strspn(ids[i], "0123456789abcdef"), 16);
        for (k = 0; k < i; k++)
            ck_assert_str_ne(ids[i], ids[k]);
    }
    server_trace_make_id(8888888, 1, other);
    ck_assert_str_ne(other, ids[1]);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        lines_are_written_in_order,
        repeated_warnings_are_held_back_and_counted,
        a_stuck_reader_holds_nobody_up,
        without_a_writer_it_ends_too,
        what_was_lost_is_told,
        the_journal_gets_priorities,
        trace_contexts,
        ids_differ,
    };
    return run_tests("log", 30, tests, sizeof(tests) / sizeof(*tests));
}

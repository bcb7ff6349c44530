/* Documents cut into passages: what they hold, and the lines and sections they say they are from. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/suite.h"
#include "tools/documents.h"
#include "tools/markdown.h"
#include "tools/prose.h"
#include "tools/quotation.h"

typedef void reader(struct tool_passages *passages, const char *text, size_t length);

static void read_text(struct tool_passages *passages, reader *read, const char *text)
{
    *passages = (struct tool_passages){0};
    tool_passages_file(passages, "a.md");
    read(passages, text, strlen(text));
    tool_passages_end(passages);
    ck_assert_int_eq(passages->status, DISTIL_OK);
}

static void is(const struct tool_passages *passages, int i, const char *section, int line,
               const char *text)
{
    ck_assert_int_gt(passages->count, i);
    const struct tool_passage *passage = &passages->items[i];
    const char *found = passages->text.bytes + passage->text;
    ck_assert_msg(passage->length == strlen(text) && memcmp(found, text, passage->length) == 0,
                  "passage %d: expected \"%s\", found \"%.*s\"", i, text, (int)passage->length,
                  found);
    ck_assert_str_eq(passages->sections[passage->section], section);
    ck_assert_int_eq(tool_passage_line(passages, passage, 0), line);
}

static int line_of(const struct tool_passages *passages, int i, const char *what)
{
    const struct tool_passage *passage = &passages->items[i];
    const char *text = passages->text.bytes + passage->text;
    const char *found = memmem(text, passage->length, what, strlen(what));
    ck_assert_msg(found != NULL, "%s", what);
    return tool_passage_line(passages, passage, (size_t)(found - text));
}

START_TEST(headings_make_sections)
{
    struct tool_passages passages;
    read_text(&passages, tool_read_markdown,
              "Before.\n\n# One\n\nFirst *text*.\nGoes `on`.\n\nSecond [one](http://x.example).\n"
              "\nTwo\n---\nDeep.\n\n#### Four\nDeeper.\n# Last\nEnd.\n");
    ck_assert_int_eq(passages.count, 5);
    is(&passages, 0, "", 1, "Before.");
    is(&passages, 1, "One", 5, "First text.\nGoes on.\n\nSecond one.");
    is(&passages, 2, "One > Two", 12, "Deep.");
    is(&passages, 3, "One > Two > Four", 15, "Deeper.");
    is(&passages, 4, "Last", 17, "End.");
    ck_assert_int_eq(line_of(&passages, 1, "on."), 6);
    ck_assert_int_eq(line_of(&passages, 1, "one"), 8);
    tool_passages_free(&passages);
}
END_TEST

START_TEST(markup_is_left_out)
{
    struct tool_passages passages;
    read_text(
        &passages, tool_read_markdown,
        "---\ntitle: x\n---\n<!-- a note -->\n\n- One &amp; two\n- Three\n  - Four\n\n> Quoted\n\n"
        "```sh\ncc a.c\n  ./a.out\n```\n\n![A picture](p.png) <b>bold</b> 3 &lt; 4 &#8364;\n");
    ck_assert_int_eq(passages.count, 1);
    const struct tool_passage *passage = &passages.items[0];
    char *text = strndup(passages.text.bytes + passage->text, passage->length);
    ck_assert_str_eq(text, "One & two\n\nThree\n\nFour\n\nQuoted\n\ncc a.c\n  ./a.out\n\nA picture "
                           "bold 3 < 4 \xE2\x82\xAC");
    free(text);
    tool_passages_free(&passages);
}
END_TEST

START_TEST(tables_are_text_with_their_heading)
{
    struct tool_passages passages;
    char text[6000] = "# Options\n\n| option | default |\n|---|---|\n";
    for (int i = 0; i < 60; i++)
        sprintf(text + strlen(text), "| --option-%02d | a default of `%d` |\n", i, i);
    strcat(text, "\nAfter.\n");
    read_text(&passages, tool_read_markdown, text);
    ck_assert_int_gt(passages.count, 2);
    for (int i = 0; i < passages.count; i++) {
        const struct tool_passage *passage = &passages.items[i];
        const char *start = passages.text.bytes + passage->text;
        ck_assert_uint_le(passage->length, TOOL_PASSAGE_BYTES + 40);
        ck_assert_int_eq(strncmp(start, "option | default\n\n--option-", 27), 0);
        ck_assert_int_eq(tool_passage_line(&passages, passage, 0), 3);
    }
    ck_assert_int_eq(line_of(&passages, passages.count - 1, "--option-59 | a default of 59"), 64);
    ck_assert_int_eq(line_of(&passages, passages.count - 1, "After."), 66);
    tool_passages_free(&passages);
}
END_TEST

START_TEST(long_paragraphs_are_cut_between_sentences)
{
    struct tool_passages passages;
    char text[8000] = "";
    for (int i = 0; i < 100; i++)
        sprintf(text + strlen(text), "Sentence number %d is this one. ", i);
    read_text(&passages, tool_read_markdown, text);
    size_t whole = 0;
    for (int i = 0; i < passages.count; i++) {
        const struct tool_passage *passage = &passages.items[i];
        const char *start = passages.text.bytes + passage->text;
        ck_assert_uint_le(passage->length, TOOL_PASSAGE_BYTES);
        ck_assert_int_eq(strncmp(start, "Sentence", 8), 0);
        ck_assert_int_eq(memcmp(start + passage->length - 9, "this one.", 9), 0);
        whole += passage->length + 1;
    }
    ck_assert_uint_eq(whole, strlen(text));
    tool_passages_free(&passages);
}
END_TEST

START_TEST(words_without_end_are_cut_between_characters)
{
    struct tool_passages passages;
    char text[4 * TOOL_PASSAGE_BYTES + 2] = "x";
    while (strlen(text) < 4 * TOOL_PASSAGE_BYTES - 3)
        strcat(text, "\xE4\xB8\xAD");
    read_text(&passages, tool_read_prose, text);
    ck_assert_int_ge(passages.count, 4);
    for (int i = 1; i < passages.count; i++)
        ck_assert_int_eq(passages.text.bytes[passages.items[i].text], '\xE4');
    tool_passages_free(&passages);
}
END_TEST

START_TEST(plain_text_has_paragraphs_and_underlined_headings)
{
    struct tool_passages passages;
    read_text(&passages, tool_read_prose,
              "Title\n=====\r\n\r\nOne line.\nAnd "
              "more.\n\n\nNext.\n\nPart\n----\nText.\nMore.\n---\n\nOther\n=====\n"
              "End");
    is(&passages, 0, "Title", 4, "One line.\nAnd more.\n\nNext.");
    is(&passages, 1, "Title > Part", 12, "Text.\nMore.\n---");
    is(&passages, 2, "Other", 18, "End");
    ck_assert_int_eq(passages.count, 3);
    ck_assert_int_eq(line_of(&passages, 0, "Next"), 8);
    tool_passages_free(&passages);
}
END_TEST

START_TEST(nothing_gives_no_passages)
{
    static const char *const texts[] = {"",      "\n\n \t\n",  "# Heading\n\n## Another\n",
                                        "---\n", "```\n```\n", "| |\n|-|\n| |\n"};
    struct tool_passages passages;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        read_text(&passages, tool_read_markdown, texts[i]);
        for (int j = 0; j < passages.count; j++)
            ck_assert_uint_gt(passages.items[j].length, 0);
        tool_passages_free(&passages);
        read_text(&passages, tool_read_prose, texts[i]);
        tool_passages_free(&passages);
    }
}
END_TEST

/* ---- folders ---- */

static void write_file(const char *folder, const char *name, const char *bytes, size_t length)
{
    char path[1000];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, length, file), length);
    fclose(file);
}

START_TEST(folders_are_read_to_the_bottom)
{
    char folder[] = "/tmp/distild-passages-XXXXXX", below[200], command[200];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(below, sizeof below, "%s/below", folder);
    ck_assert_int_eq(mkdir(below, 0700), 0);
    write_file(below, "c.TXT", "Text.", 5);
    write_file(folder, "b.md", "\xEF\xBB\xBF# Head\nOne.", 14);
    write_file(folder, "a.md", "Broken \xC3 one.", 13);
    write_file(folder, "z.md", "Binary \0 one.", 13);
    write_file(folder, "d.md", "", 0);
    write_file(folder, ".hidden.md", "Hidden.", 7);
    write_file(folder, "program.c", "int x;", 6);
    snprintf(below, sizeof below, "%s/below/up", folder);
    ck_assert_int_eq(symlink("..", below), 0);
    snprintf(below, sizeof below, "%s/pipe.md", folder);
    ck_assert_int_eq(mkfifo(below, 0600), 0);

    struct tool_passages passages = {0};
    struct tool_documents documents = {0};
    struct tool_progress progress = {0};
    distil_error error;
    distil_status status = tool_read_documents(&passages, folder, &documents, &progress, &error);
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);
    ck_assert_int_eq(documents.read, 4);
    ck_assert_int_eq(documents.failed, 1);
    ck_assert_int_eq(documents.links, 1);
    ck_assert_int_eq(documents.others, 3);
    ck_assert_int_eq(passages.count, 3);
    is(&passages, 0, "", 1, "Broken \xEF\xBF\xBD one.");
    is(&passages, 1, "Head", 2, "One.");
    is(&passages, 2, "", 1, "Text.");
    ck_assert_ptr_nonnull(strstr(passages.files[passages.items[2].file], "/below/c.TXT"));
    tool_passages_free(&passages);

    ck_assert_int_eq(
        tool_read_documents(&passages, "/nonexistent/folder", &documents, &progress, &error),
        DISTIL_NOT_FOUND);
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* ---- quotations ---- */

static void quotes(const char *text, const char *answer, size_t most, const char *expected,
                   int before, int after)
{
    size_t from = (size_t)(strstr(text, answer) - text);
    struct tool_quotation found = tool_quote(text, strlen(text), from, from + strlen(answer), most);
    ck_assert_msg(found.end - found.start == strlen(expected) &&
                      memcmp(text + found.start, expected, strlen(expected)) == 0,
                  "expected \"%s\", found \"%.*s\"", expected, (int)(found.end - found.start),
                  text + found.start);
    ck_assert_int_eq(found.cut_before, before);
    ck_assert_int_eq(found.cut_after, after);
}

START_TEST(quotations_are_sentences)
{
    quotes("One is. Two was\nblue. Three.", "blue", 100, "Two was\nblue.", 0, 0);
    quotes("One is. Two was blue", "One", 100, "One is.", 0, 0);
    quotes("Alone", "Alone", 100, "Alone", 0, 0);
    quotes("name | value\n\nport | 80\n\nhost | x", "80", 100, "port | 80", 0, 0);
    quotes("a. b c. d", "b c. d", 100, "b c. d", 0, 0);
    quotes("one two three four five six seven", "four", 8, "three four five", 1, 1);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        headings_make_sections,
        markup_is_left_out,
        tables_are_text_with_their_heading,
        long_paragraphs_are_cut_between_sentences,
        words_without_end_are_cut_between_characters,
        plain_text_has_paragraphs_and_underlined_headings,
        nothing_gives_no_passages,
        folders_are_read_to_the_bottom,
        quotations_are_sentences,
    };
    return run_tests("passages", 30, tests, sizeof(tests) / sizeof(*tests));
}

#include "tools/movielens.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/input.h"

enum { FIELDS_MOST = 32, GENRES = 19, FIRST_GENRE = 5, ROWS_MOST = 100000000, GENRE_ROOM = 16 };

static const char *const genres[GENRES] = {"",           "Action",  "Adventure", "Animation",
                                           "Children's", "Comedy",  "Crime",     "Documentary",
                                           "Drama",      "Fantasy", "Film-Noir", "Horror",
                                           "Musical",    "Mystery", "Romance",   "Sci-Fi",
                                           "Thriller",   "War",     "Western"};

struct field {
    const char *start;
    size_t length;
};

/* A file being read, a line at a time, cut into fields. */
struct reader {
    struct tool_input input;
    char separator;
    char path[PATH_MAX];
    bool binary; /* there is a NUL in the line */
    int count;   /* fields of the line, of which FIELDS_MOST are kept */
    struct field fields[FIELDS_MOST];
    distil_error *error;
};

/* ---- lines and fields ---- */

static distil_status open_reader(struct reader *reader, const char *folder, const char *name,
                                 char separator, distil_error *error)
{
    *reader = (struct reader){.separator = separator, .error = error};
    if (snprintf(reader->path, sizeof reader->path, "%s/%s", folder, name) >=
        (int)sizeof reader->path)
        return distil_fail(error, DISTIL_IO, "%.200s: the name is too long", folder);
    return tool_input_open(&reader->input, reader->path, error);
}

static void cut(struct reader *reader, const char *text, size_t length)
{
    const char *end = text + length;
    reader->binary = memchr(text, '\0', length) != NULL;
    reader->count = 0;
    for (;;) {
        const char *stop = memchr(text, reader->separator, (size_t)(end - text));
        size_t size = (size_t)((stop ? stop : end) - text);
        if (reader->count < FIELDS_MOST)
            reader->fields[reader->count] = (struct field){text, size};
        reader->count++;
        if (!stop)
            break;
        text = stop + 1;
    }
}

/* The next line that is not empty; TOOL_END after the last. */
static enum tool_line next_line(struct reader *reader)
{
    char *text;
    size_t length;
    enum tool_line line;
    do
        line = tool_input_next(&reader->input, true, &text, &length, reader->error);
    while (line == TOOL_LINE && length == 0);
    if (line == TOOL_LINE)
        cut(reader, text, length);
    return line;
}

static distil_status bad_line(const struct reader *reader, const char *expected)
{
    return distil_fail(reader->error, DISTIL_FORMAT, "%s, line %ld: expected %s", reader->path,
                       reader->input.line, expected);
}

static distil_status bad_field(const struct reader *reader, int i, const char *expected)
{
    const struct field *field = &reader->fields[i];
    return distil_fail(reader->error, DISTIL_FORMAT,
                       "%s, line %ld, field %d: expected %s, not '%.*s'", reader->path,
                       reader->input.line, i + 1, expected,
                       field->length < 60 ? (int)field->length : 60, field->start);
}

/* A field of digits alone, up to most; -1 for anything else. */
static long number_of(const struct field *field, long most)
{
    long number = 0;
    if (field->length == 0)
        return -1;
    for (size_t i = 0; i < field->length; i++) {
        int digit = field->start[i] - '0';
        if (digit < 0 || digit > 9 || digit > most || number > (most - digit) / 10)
            return -1;
        number = number * 10 + digit;
    }
    return number;
}

/* Copies a field that is to be one of a few words; a longer one is cut, and none of them. */
static const char *word_of(const struct field *field, char word[32])
{
    snprintf(word, 32, "%.*s", field->length < 31 ? (int)field->length : 31, field->start);
    return word;
}

/* Makes room for one more element. NULL, with the array as it was, when memory runs out. */
static void *grow(void *array, long count, long *capacity, size_t size)
{
    if (count < *capacity)
        return array;
    long larger = *capacity * 2 + 1024;
    void *grown = larger <= ROWS_MOST ? realloc(array, (size_t)larger * size) : NULL;
    if (grown)
        *capacity = larger;
    return grown;
}

static distil_status no_memory(const struct reader *reader)
{
    return distil_fail(reader->error, DISTIL_NO_MEMORY, "%s, line %ld: no memory", reader->path,
                       reader->input.line);
}

/* ---- u.user ---- */

static distil_status read_user(struct tool_movielens *data, struct tool_ratings *ratings,
                               const struct reader *reader)
{
    char word[32];
    (void)ratings;
    if (reader->count != 5)
        return bad_line(reader, "user|age|gender|occupation|zip code");
    long id = number_of(&reader->fields[0], LONG_MAX);
    long age = number_of(&reader->fields[1], SERVER_AGE_MOST);
    int gender = server_gender_find(word_of(&reader->fields[2], word));
    int occupation = server_occupation_find(word_of(&reader->fields[3], word));
    if (id < 1)
        return bad_field(reader, 0, "the number of a user");
    if (age < 0)
        return bad_field(reader, 1, "an age from 0 to 130");
    if (gender < 0)
        return bad_field(reader, 2, "M, F or O");
    if (occupation < 0)
        return bad_field(reader, 3, "one of MovieLens' 21 occupations");
    struct tool_viewer *users =
        grow(data->users, data->user_count, &data->user_capacity, sizeof *users);
    if (!users)
        return no_memory(reader);
    data->users = users;
    users[data->user_count++] =
        (struct tool_viewer){.id = id, .profile = {(int)age, gender, occupation}};
    return DISTIL_OK;
}

/* ---- u.item ---- */

/* Appends Latin-1 as UTF-8; returns where it goes on. */
static char *append_latin1(char *to, const struct field *field)
{
    for (size_t i = 0; i < field->length; i++) {
        unsigned char byte = (unsigned char)field->start[i];
        if (byte < 0x80) {
            *to++ = (char)byte;
        } else {
            *to++ = (char)(0xC0 | byte >> 6);
            *to++ = (char)(0x80 | (byte & 0x3F));
        }
    }
    return to;
}

/* Writes title and genres. to has room for the title twice, and for all genres. */
static distil_status describe(const struct reader *reader, char *to, size_t *title)
{
    const char *begin = to, *between = ": ";
    to = append_latin1(to, &reader->fields[1]);
    *title = (size_t)(to - begin);
    for (int i = 0; i < GENRES; i++) {
        long flag = number_of(&reader->fields[FIRST_GENRE + i], 1);
        if (flag < 0)
            return bad_field(reader, FIRST_GENRE + i, "0 or 1");
        if (flag && *genres[i]) {
            to += sprintf(to, "%s%s", between, genres[i]);
            between = ", ";
        }
    }
    *to = '\0';
    return DISTIL_OK;
}

static distil_status read_item(struct tool_movielens *data, struct tool_ratings *ratings,
                               const struct reader *reader)
{
    struct tool_film *items;
    (void)ratings;
    if (reader->count != FIRST_GENRE + GENRES)
        return bad_line(reader, "film|title|release|video release|address and 19 flags of genres");
    long id = number_of(&reader->fields[0], LONG_MAX);
    if (id < 1)
        return bad_field(reader, 0, "the number of a film");
    if (reader->fields[1].length == 0)
        return bad_field(reader, 1, "a title");
    items = grow(data->items, data->item_count, &data->item_capacity, sizeof *items);
    if (!items)
        return no_memory(reader);
    data->items = items;
    struct tool_film *item = &items[data->item_count];
    *item = (struct tool_film){
        .id = id, .text = malloc(reader->fields[1].length * 2 + (size_t)GENRES * GENRE_ROOM)};
    if (!item->text)
        return no_memory(reader);
    data->item_count++;
    return describe(reader, item->text, &item->title);
}

/* ---- finding by number ---- */

/* Users and films begin with their number. */
static int compare_ids(const void *a, const void *b)
{
    const long *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int find_user(const struct tool_movielens *data, long id)
{
    const struct tool_viewer *found =
        bsearch(&id, data->users, (size_t)data->user_count, sizeof *data->users, compare_ids);
    return found ? (int)(found - data->users) : -1;
}

static int find_item(const struct tool_movielens *data, long id)
{
    const struct tool_film *found =
        bsearch(&id, data->items, (size_t)data->item_count, sizeof *data->items, compare_ids);
    return found ? (int)(found - data->items) : -1;
}

/* Sorts users or films by their number, which none may share. */
static distil_status sort_ids(void *rows, int count, size_t size, const char *file,
                              distil_error *error)
{
    const char *at = rows;
    if (count == 0)
        return distil_fail(error, DISTIL_FORMAT, "%s is empty", file);
    qsort(rows, (size_t)count, size, compare_ids);
    for (int i = 1; i < count; i++, at += size) {
        if (compare_ids(at, at + size) == 0)
            return distil_fail(error, DISTIL_FORMAT, "%s: the number %ld is there twice", file,
                               *(const long *)(const void *)at);
    }
    return DISTIL_OK;
}

/* ---- scores ---- */

static distil_status read_rating(struct tool_movielens *data, struct tool_ratings *ratings,
                                 const struct reader *reader)
{
    if (reader->count != 4)
        return bad_line(reader, "user, film, score and time, with tabs between them");
    long user = number_of(&reader->fields[0], LONG_MAX);
    long item = number_of(&reader->fields[1], LONG_MAX);
    long score = number_of(&reader->fields[2], 5), time = number_of(&reader->fields[3], LONG_MAX);
    int user_at = find_user(data, user), item_at = find_item(data, item);
    if (user_at < 0)
        return bad_field(reader, 0, "the number of a user in u.user");
    if (item_at < 0)
        return bad_field(reader, 1, "the number of a film in u.item");
    if (score < 0)
        return bad_field(reader, 2, "a score from 0 to 5");
    if (time < 0)
        return bad_field(reader, 3, "a time in seconds since 1970");
    struct tool_rating *each =
        grow(ratings->each, ratings->count, &ratings->capacity, sizeof *each);
    if (!each)
        return no_memory(reader);
    ratings->each = each;
    each[ratings->count++] =
        (struct tool_rating){.user = user_at, .item = item_at, .score = (float)score, .time = time};
    return DISTIL_OK;
}

static int compare_times(const void *a, const void *b)
{
    const struct tool_rating *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    if (x->user != y->user)
        return x->user - y->user;
    return x->item - y->item;
}

/* ---- files ---- */

/* Reads the lines of a file, each by read_row. */
static distil_status read_file(struct tool_movielens *data, struct tool_ratings *ratings,
                               const char *folder, const char *name, char separator,
                               distil_status (*read_row)(struct tool_movielens *data,
                                                         struct tool_ratings *ratings,
                                                         const struct reader *reader),
                               distil_error *error)
{
    struct reader reader;
    enum tool_line line = TOOL_END;
    distil_error own;
    distil_status status = open_reader(&reader, folder, name, separator, error ? error : &own);
    if (status)
        return status;
    while (!status && (line = next_line(&reader)) == TOOL_LINE)
        status = reader.binary ? bad_line(&reader, "text, and no NUL in it")
                               : read_row(data, ratings, &reader);
    if (!status && line == TOOL_BROKEN)
        status = reader.error->code;
    tool_input_close(&reader.input);
    return status;
}

static distil_status read_ratings(struct tool_movielens *data, struct tool_ratings *ratings,
                                  const char *folder, const char *name, distil_error *error)
{
    distil_status status = read_file(data, ratings, folder, name, '\t', read_rating, error);
    if (!status && ratings->count == 0)
        status = distil_fail(error, DISTIL_FORMAT, "%s/%s: there are no scores", folder, name);
    if (!status)
        qsort(ratings->each, (size_t)ratings->count, sizeof *ratings->each, compare_times);
    return status;
}

static bool exists(const char *folder, int fold, const char *part)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/u%d.%s", folder, fold, part);
    return length < (int)sizeof path && access(path, F_OK) == 0;
}

bool tool_movielens_has_folds(const char *folder)
{
    return exists(folder, 1, "base") && exists(folder, 1, "test");
}

static distil_status read_folds(struct tool_movielens *data, const char *folder,
                                distil_error *error)
{
    distil_status status = DISTIL_OK;
    for (int i = 0; i < TOOL_FOLDS_MOST && !status; i++) {
        char base[16], test[16];
        if (i > 0 && !(exists(folder, i + 1, "base") && exists(folder, i + 1, "test")))
            break;
        snprintf(base, sizeof base, "u%d.base", i + 1);
        snprintf(test, sizeof test, "u%d.test", i + 1);
        status = read_ratings(data, &data->base[i], folder, base, error);
        if (!status)
            status = read_ratings(data, &data->test[i], folder, test, error);
        data->folds = i + 1;
    }
    return status;
}

distil_status tool_movielens_read(struct tool_movielens *data, const char *folder, bool folds,
                                  distil_error *error)
{
    distil_status status = read_file(data, NULL, folder, "u.user", '|', read_user, error);
    if (!status)
        status = sort_ids(data->users, data->user_count, sizeof *data->users, "u.user", error);
    if (!status)
        status = read_file(data, NULL, folder, "u.item", '|', read_item, error);
    if (!status)
        status = sort_ids(data->items, data->item_count, sizeof *data->items, "u.item", error);
    if (!status && folds)
        status = read_folds(data, folder, error);
    else if (!status)
        status = read_ratings(data, &data->all, folder, "u.data", error);
    return status;
}

void tool_movielens_free(struct tool_movielens *data)
{
    for (int i = 0; i < data->item_count; i++)
        free(data->items[i].text);
    for (int i = 0; i < TOOL_FOLDS_MOST; i++) {
        free(data->base[i].each);
        free(data->test[i].each);
    }
    free(data->all.each);
    free(data->users);
    free(data->items);
    *data = (struct tool_movielens){0};
}

/* json_check.c: the grammar of RFC 8259, to the letter, in one pass. */
#include <stdio.h>
#include <string.h>

#include "server/json_input.h"
#include "server/utf8.h"

enum { MAX_NUMBER = 300, LONGEST_KEY = 64 /* that a message names */ };

struct checker {
    const unsigned char *data;
    size_t length, at, values;
    int depth;
    struct server_problem *problem;
    size_t keys;              /* met so far */
    size_t wanted;            /* the key whose place is looked for */
    size_t place;             /* of that key */
    const unsigned char *key; /* met last */
    size_t key_length;        /* 0: none yet */
};

static bool fail(struct checker *c, const char *what)
{
    server_problem_set(c->problem, NULL, "invalid JSON at byte %zu: %s", c->at, what);
    return false;
}

/* What stands where something else was expected. */
static bool unexpected(struct checker *c, const char *expected)
{
    char what[100];
    if (c->at >= c->length)
        snprintf(what, sizeof(what), "the text ends where %s is expected", expected);
    else if (c->data[c->at] >= 0x20 && c->data[c->at] < 0x7F)
        snprintf(what, sizeof(what), "found '%c' where %s is expected", c->data[c->at], expected);
    else
        snprintf(what, sizeof(what), "found byte 0x%02X where %s is expected", c->data[c->at],
                 expected);
    return fail(c, what);
}

static int peek(const struct checker *c)
{
    return c->at < c->length ? c->data[c->at] : -1;
}

static void skip_space(struct checker *c)
{
    while (c->at < c->length && (c->data[c->at] == ' ' || c->data[c->at] == '\n' ||
                                 c->data[c->at] == '\r' || c->data[c->at] == '\t'))
        c->at++;
}

/* The four digits of a \u escape, which begin at offset; -1 where they are none. */
static int hex4(const struct checker *c, size_t offset)
{
    int value = 0, i;
    if (c->length < 4 || offset > c->length - 4)
        return -1;
    for (i = 0; i < 4; i++) {
        unsigned char byte = c->data[offset + (size_t)i];
        if (byte >= '0' && byte <= '9')
            value = value * 16 + byte - '0';
        else if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f')
            value = value * 16 + (byte | 0x20) - 'a' + 10;
        else
            return -1;
    }
    return value;
}

/* JSON may hold it, so that whoever sent it is told of which field it is. */
static bool refuse_nul(struct checker *c)
{
    bool named =
        c->key_length > 0 && c->key_length <= LONGEST_KEY && !memchr(c->key, '\\', c->key_length);
    server_problem_set(c->problem, NULL,
                       "invalid JSON at byte %zu: \\u0000 is not accepted in a text%s%.*s%s", c->at,
                       named ? ", here in the field `" : "", named ? (int)c->key_length : 0,
                       named ? (const char *)c->key : "", named ? "`" : "");
    return false;
}

static bool check_unicode_escape(struct checker *c)
{
    int unit = hex4(c, c->at + 2), second;
    if (unit < 0)
        return fail(c, "\\u is not followed by four hexadecimal digits");
    if (unit == 0)
        return refuse_nul(c);
    if (unit >= 0xDC00 && unit <= 0xDFFF)
        return fail(c, "a low surrogate without the high one before it");
    if (unit >= 0xD800 && unit <= 0xDBFF) {
        second = c->at + 7 < c->length && c->data[c->at + 6] == '\\' && c->data[c->at + 7] == 'u'
                     ? hex4(c, c->at + 8)
                     : -1;
        if (second < 0xDC00 || second > 0xDFFF)
            return fail(c, "a high surrogate without the low one after it");
        c->at += 6;
    }
    c->at += 6;
    return true;
}

static bool check_escape(struct checker *c)
{
    if (c->at + 1 >= c->length)
        return fail(c, "the text ends within a string");
    if (c->data[c->at + 1] == 'u')
        return check_unicode_escape(c);
    switch (c->data[c->at + 1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        c->at += 2;
        return true;
    default:
        return fail(c, "an unknown escape in a string");
    }
}

static bool check_string(struct checker *c)
{
    for (c->at++; c->at < c->length;) {
        unsigned char byte = c->data[c->at];
        size_t sequence;
        if (byte == '"') {
            c->at++;
            return true;
        }
        if (byte < 0x20)
            return fail(c, "a control character in a string, which must be escaped");
        if (byte == '\\') {
            if (!check_escape(c))
                return false;
            continue;
        }
        sequence = server_utf8_sequence(c->data + c->at, c->length - c->at);
        if (!sequence)
            return fail(c, "malformed UTF-8 in a string");
        c->at += sequence;
    }
    return fail(c, "the text ends within a string");
}

static bool check_digits(struct checker *c)
{
    if (peek(c) < '0' || peek(c) > '9')
        return unexpected(c, "a digit");
    while (peek(c) >= '0' && peek(c) <= '9')
        c->at++;
    return true;
}

static bool check_number(struct checker *c)
{
    size_t start = c->at;
    if (peek(c) == '-')
        c->at++;
    if (peek(c) == '0') {
        c->at++;
        if (peek(c) >= '0' && peek(c) <= '9')
            return fail(c, "a number that begins with 0");
    } else if (!check_digits(c)) {
        return false;
    }
    if (peek(c) == '.') {
        c->at++;
        if (!check_digits(c))
            return false;
    }
    if (peek(c) == 'e' || peek(c) == 'E') {
        c->at++;
        if (peek(c) == '+' || peek(c) == '-')
            c->at++;
        if (!check_digits(c))
            return false;
    }
    if (c->at - start > MAX_NUMBER) {
        c->at = start;
        return fail(c, "a number of over 300 characters");
    }
    return true;
}

static bool check_word(struct checker *c, const char *word)
{
    size_t length = strlen(word);
    if (c->length - c->at < length || memcmp(c->data + c->at, word, length) != 0)
        return unexpected(c, "a value");
    c->at += length;
    return true;
}

static bool check_value(struct checker *c);

static bool check_member(struct checker *c)
{
    size_t start;
    skip_space(c);
    if (peek(c) != '"')
        return unexpected(c, "a key in quotes");
    if (c->keys++ == c->wanted)
        c->place = c->at;
    start = c->at + 1;
    c->key_length = 0; /* until it has ended */
    if (!check_string(c))
        return false;
    c->key = c->data + start;
    c->key_length = c->at - 1 - start;
    skip_space(c);
    if (peek(c) != ':')
        return unexpected(c, "':'");
    c->at++;
    return check_value(c);
}

/* An array or an object; recursion ends at SERVER_JSON_DEPTH. */
static bool check_container(struct checker *c, char close)
{
    if (++c->depth > SERVER_JSON_DEPTH)
        return fail(c, "arrays and objects nested more than 64 deep");
    c->at++;
    skip_space(c);
    if (peek(c) != close) {
        for (;;) {
            if (!(close == '}' ? check_member(c) : check_value(c)))
                return false;
            skip_space(c);
            if (peek(c) != ',')
                break;
            c->at++;
        }
        if (peek(c) != close)
            return unexpected(c, close == '}' ? "',' or '}'" : "',' or ']'");
    }
    c->at++;
    c->depth--;
    return true;
}

static bool check_value(struct checker *c)
{
    if (++c->values > SERVER_JSON_VALUES)
        return fail(c, "more than 200000 values");
    skip_space(c);
    switch (peek(c)) {
    case '{':
        return check_container(c, '}');
    case '[':
        return check_container(c, ']');
    case '"':
        return check_string(c);
    case 't':
        return check_word(c, "true");
    case 'f':
        return check_word(c, "false");
    case 'n':
        return check_word(c, "null");
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return check_number(c);
    default:
        return unexpected(c, "a value");
    }
}

bool server_json_check(const char *data, size_t length, struct server_problem *problem)
{
    struct checker c = {.data = (const unsigned char *)data, .length = length, .problem = problem};
    if (length >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0)
        return fail(&c, "a byte-order mark, which JSON has none of");
    skip_space(&c);
    if (c.at == length) {
        server_problem_set(problem, NULL, "the body is empty: a JSON object is expected");
        return false;
    }
    if (!check_value(&c))
        return false;
    skip_space(&c);
    if (c.at != length)
        return unexpected(&c, "the end of the text");
    return true;
}

size_t server_json_key_place(const char *data, size_t length, size_t number)
{
    struct server_problem ignored;
    struct checker c = {.data = (const unsigned char *)data,
                        .length = length,
                        .problem = &ignored,
                        .wanted = number};
    check_value(&c);
    return c.place;
}

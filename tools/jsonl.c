#include "tools/jsonl.h"

#include <string.h>

#include "server/json_input.h"

static size_t skip_space(const char *line, size_t length, size_t at)
{
    while (at < length &&
           (line[at] == ' ' || line[at] == '\t' || line[at] == '\n' || line[at] == '\r'))
        at++;
    return at;
}

distil_status tool_json_object(const char *line, size_t length, distil_error *error)
{
    struct server_problem problem;
    if (!server_json_check(line, length, &problem))
        return distil_fail(error, DISTIL_FORMAT, "%s", problem.message);
    if (line[skip_space(line, length, 0)] != '{')
        return distil_fail(error, DISTIL_FORMAT, "expected a JSON object");
    return DISTIL_OK;
}

static size_t skip_string(const char *line, size_t length, size_t at)
{
    for (at++; at < length && line[at] != '"'; at++)
        at += line[at] == '\\';
    return at + 1;
}

/* The end of the value that starts at `at`. The line is known to be well formed. */
static size_t skip_value(const char *line, size_t length, size_t at)
{
    if (line[at] == '"')
        return skip_string(line, length, at);
    for (int depth = 0; at < length;) {
        char c = line[at];
        if (depth == 0 && (c == ',' || c == '}' || c == ' ' || c == '\t' || c == '\r' || c == '\n'))
            return at;
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        at = c == '"' ? skip_string(line, length, at) : at + 1;
        if (depth == 0 && (c == '}' || c == ']'))
            return at;
    }
    return at;
}

bool tool_json_next(const char *line, size_t length, size_t *at, struct tool_json_member *member)
{
    size_t i = skip_space(line, length, *at);
    if (i < length && (line[i] == '{' || line[i] == ','))
        i = skip_space(line, length, i + 1);
    if (i >= length || line[i] != '"')
        return false;
    size_t end = skip_string(line, length, i);
    member->name = line + i;
    member->name_length = end - i;
    i = skip_space(line, length, skip_space(line, length, end) + 1);
    end = skip_value(line, length, i);
    member->value = line + i;
    member->value_length = end - i;
    *at = end;
    return true;
}

bool tool_json_named(const struct tool_json_member *member, const char *name)
{
    size_t length = strlen(name);
    return member->name_length == length + 2 && memcmp(member->name + 1, name, length) == 0;
}

static size_t put_utf8(char *out, unsigned long point)
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xC0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3F));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xE0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3F));
        out[2] = (char)(0x80 | (point & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 0x3F));
    out[2] = (char)(0x80 | (point >> 6 & 0x3F));
    out[3] = (char)(0x80 | (point & 0x3F));
    return 4;
}

static unsigned long four_hex(const char *text)
{
    unsigned long value = 0;
    for (int i = 0; i < 4; i++)
        value = value << 4 |
                (unsigned long)(text[i] <= '9' ? text[i] - '0' : (text[i] | 0x20) - 'a' + 10);
    return value;
}

size_t tool_json_decode(const char *text, size_t length, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    size_t n = 0;
    for (size_t i = 1; i + 1 < length; i++) {
        if (text[i] != '\\') {
            out[n++] = text[i];
            continue;
        }
        i++;
        if (text[i] != 'u') {
            out[n++] = to[strchr(from, text[i]) - from];
            continue;
        }
        unsigned long point = four_hex(text + i + 1);
        i += 4;
        if (point >= 0xD800 && point < 0xDC00) {
            /* A high surrogate; the low one follows it. */
            point = 0x10000 + ((point - 0xD800) << 10) + (four_hex(text + i + 3) - 0xDC00);
            i += 6;
        }
        n += put_utf8(out + n, point);
    }
    return n;
}

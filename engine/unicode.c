#include "engine/unicode.h"

#include <string.h>
#include <utf8proc.h>

/* utf8proc 2.8 knows Unicode 15.0. `tokenizers` mixes versions: general categories as of Unicode 8,
 * canonical combining classes of Unicode 9, lower case and \w of Unicode 17. The tables below hold
 * the difference, found by comparing every code point (tests/engine/tokenizer_parity.py does it
 * again). A range may run over code points that the property in question does not concern. */
struct range {
    uint32_t first, last;
};

/* Mn for utf8proc, not for `tokenizers`. */
static const struct range unknown_marks[] = {
    {0x7FD, 0x7FD},     {0x898, 0x8E1},     {0x9FE, 0x9FE},     {0xAFA, 0xAFF},
    {0xB55, 0xB55},     {0xC04, 0xC3C},     {0xD00, 0xD00},     {0xD3B, 0xD3C},
    {0xD81, 0xD81},     {0xEBA, 0xEBA},     {0xECE, 0xECE},     {0x180F, 0x1886},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFB},   {0xA82C, 0xA82C},   {0xA8C5, 0xA8C5},
    {0xA8FF, 0xA8FF},   {0xA9BD, 0xA9BD},   {0x10D24, 0x10F85}, {0x11070, 0x11074},
    {0x110C2, 0x110C2}, {0x111C9, 0x111C9}, {0x111CF, 0x111CF}, {0x1123E, 0x11241},
    {0x1133B, 0x1133B}, {0x11438, 0x1145E}, {0x1182F, 0x13455}, {0x16F4F, 0x16F4F},
    {0x16FE4, 0x16FE4}, {0x1CF00, 0x1CF46}, {0x1E000, 0x1E4EF}, {0x1E944, 0x1E94A},
};
/* A combining class other than 0 for utf8proc, a starter for `tokenizers`. */
static const struct range unknown_combining[] = {
    {0x7FD, 0x7FD},     {0x898, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},
    {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x10D24, 0x10F85}, {0x11070, 0x11070},
    {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x11A99}, {0x11D42, 0x11F42},
    {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E4EF},
};
/* P* for utf8proc, not for `tokenizers`. */
static const struct range unknown_punctuation[] = {
    {0x61D, 0x61D},     {0x9FD, 0xA76},     {0xC77, 0xC84},     {0x1B7D, 0x1B7E},
    {0x2E43, 0x2E5D},   {0x10EAD, 0x10F89}, {0x1144B, 0x1145D}, {0x11660, 0x116B9},
    {0x1183B, 0x11FFF}, {0x12FF1, 0x12FF2}, {0x16E97, 0x16FE2}, {0x1E95E, 0x1E95F},
};
/* Cf for utf8proc, not for `tokenizers`. */
static const struct range unknown_format[] = {{0x890, 0x8E2}, {0x110CD, 0x1343F}};
/* \w for `tokenizers`, unassigned for utf8proc. */
static const struct range newer_word[] = {
    {0x897, 0x897},     {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},
    {0x105C0, 0x105F3}, {0x10D40, 0x10D65}, {0x10D69, 0x10D6D}, {0x10D6F, 0x10D85},
    {0x10EC2, 0x10EC4}, {0x10EFC, 0x10EFC}, {0x11380, 0x11389}, {0x1138B, 0x1138B},
    {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113C0}, {0x113C2, 0x113C2},
    {0x113C5, 0x113C5}, {0x113C7, 0x113CA}, {0x113CC, 0x113D3}, {0x113E1, 0x113E2},
    {0x116D0, 0x116E3}, {0x11BC0, 0x11BE0}, {0x11BF0, 0x11BF9}, {0x11F5A, 0x11F5A},
    {0x13460, 0x143FA}, {0x16100, 0x16139}, {0x16D40, 0x16D6C}, {0x16D70, 0x16D79},
    {0x18CFF, 0x18CFF}, {0x1CCF0, 0x1CCF9}, {0x1E5D0, 0x1E5FA}, {0x2EBF0, 0x2EE5D},
};
/* Letters in circles and squares: Alphabetic though of category So. */
static const struct range alphabetic_symbols[] = {
    {0x24B6, 0x24E9}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};
static const struct range chinese[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},
                                       {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F},
                                       {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};

/* Upper-case letters newer than Unicode 15.0: first..last go to lower, counting up in steps of one.
 */
static const struct newer_lower {
    uint32_t first, last, lower;
} newer_lower[] = {
    {0x1C89, 0x1C89, 0x1C8A},    {0xA7CB, 0xA7CB, 0x264},  {0xA7CC, 0xA7CC, 0xA7CD},
    {0xA7CE, 0xA7CE, 0xA7CF},    {0xA7D2, 0xA7D2, 0xA7D3}, {0xA7D4, 0xA7D4, 0xA7D5},
    {0xA7DA, 0xA7DA, 0xA7DB},    {0xA7DC, 0xA7DC, 0x19B},  {0x10D50, 0x10D65, 0x10D70},
    {0x16EA0, 0x16EB8, 0x16EBB},
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define WITHIN(table, cp) within(table, COUNT(table), cp)

static bool within(const struct range *ranges, size_t count, uint32_t cp)
{
    for (size_t i = 0; i < count; i++)
        if (cp >= ranges[i].first && cp <= ranges[i].last)
            return true;
    return false;
}

static utf8proc_category_t category(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp);
}

bool engine_unicode_space(uint32_t cp)
{
    return cp == ' ' || (cp >= '\t' && cp <= '\r') || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F ||
           cp == 0x205F || cp == 0x3000;
}

bool engine_unicode_other(uint32_t cp)
{
    utf8proc_category_t c = category(cp);
    return c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CO ||
           (c == UTF8PROC_CATEGORY_CF && !WITHIN(unknown_format, cp));
}

bool engine_unicode_punctuation(uint32_t cp)
{
    if (cp < 0x80)
        return cp > ' ' && cp < 0x7F && !(cp >= '0' && cp <= '9') &&
               !((cp | 0x20) >= 'a' && (cp | 0x20) <= 'z');
    /* Punctuation once, since moved to another category. */
    if (cp == 0x166D || cp == 0x111C9)
        return true;
    utf8proc_category_t c = category(cp);
    return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO &&
           !WITHIN(unknown_punctuation, cp);
}

bool engine_unicode_mark(uint32_t cp)
{
    if (cp == 0x1734) /* Mn once, now Mc */
        return true;
    return category(cp) == UTF8PROC_CATEGORY_MN && !WITHIN(unknown_marks, cp);
}

bool engine_unicode_word(uint32_t cp)
{
    switch (category(cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return cp == 0x200C || cp == 0x200D || WITHIN(alphabetic_symbols, cp) ||
               WITHIN(newer_word, cp);
    }
}

bool engine_unicode_chinese(uint32_t cp)
{
    return cp >= 0x3400 && WITHIN(chinese, cp);
}

int engine_unicode_combining(uint32_t cp)
{
    int combining = utf8proc_get_property((utf8proc_int32_t)cp)->combining_class;
    return combining && WITHIN(unknown_combining, cp) ? 0 : combining;
}

int engine_unicode_lower(uint32_t cp, uint32_t out[2])
{
    if (cp == 0x130) { /* I with a dot: the only character whose lower case is two */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
    for (size_t i = 0; i < COUNT(newer_lower); i++)
        if (cp >= newer_lower[i].first && cp <= newer_lower[i].last)
            out[0] = newer_lower[i].lower + (cp - newer_lower[i].first);
    return 1;
}

int engine_unicode_decompose(uint32_t cp, uint32_t out[ENGINE_DECOMPOSITION_MAX])
{
    utf8proc_int32_t decomposed[ENGINE_DECOMPOSITION_MAX];
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char(
        (utf8proc_int32_t)cp, decomposed, ENGINE_DECOMPOSITION_MAX, UTF8PROC_DECOMPOSE, &boundary);
    /* U+11938 has a decomposition since Unicode 13. */
    if (n < 1 || n > ENGINE_DECOMPOSITION_MAX || cp == 0x11938) {
        out[0] = cp;
        return 1;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++)
        out[i] = (uint32_t)decomposed[i];
    return (int)n;
}

size_t engine_utf8_decode(const uint8_t *bytes, size_t length, uint32_t *cp)
{
    uint8_t lead = bytes[0];
    if (lead < 0x80) {
        *cp = lead;
        return 1;
    }
    /* The second byte's range depends on the lead: no overlong form, surrogate or code point over
     * U+10FFFF. */
    uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    size_t size = lead < 0xC2 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 1;
    uint32_t value = lead & (0x7Fu >> size);
    size_t i = 1;
    for (; i < size && i < length && bytes[i] >= low && bytes[i] <= high; i++) {
        value = value << 6 | (bytes[i] & 0x3Fu);
        low = 0x80;
        high = 0xBF;
    }
    *cp = size > 1 && i == size ? value : ENGINE_REPLACEMENT;
    return i;
}

size_t engine_utf8_encode(uint32_t cp, uint8_t *bytes)
{
    if (cp < 0x80) {
        bytes[0] = (uint8_t)cp;
        return 1;
    }
    size_t size = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--, cp >>= 6)
        bytes[i] = (uint8_t)(0x80 | (cp & 0x3F));
    bytes[0] = (uint8_t)((0xF00 >> size & 0xFF) | cp);
    return size;
}

size_t engine_utf8_before(const uint8_t *bytes, size_t position, uint32_t *cp)
{
    for (size_t back = 1; back <= ENGINE_UTF8_MAX && back <= position; back++) {
        const uint8_t *lead = bytes + position - back;
        if ((*lead & 0xC0) == 0x80)
            continue;
        if (engine_utf8_decode(lead, back, cp) == back)
            return position - back;
        break;
    }
    *cp = ENGINE_REPLACEMENT;
    return position - 1;
}

size_t engine_utf8_count(const uint8_t *bytes, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; count++) {
        uint32_t cp;
        i += engine_utf8_decode(bytes + i, length - i, &cp);
    }
    return count;
}

bool engine_utf8_valid(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length;) {
        uint64_t ahead;
        if (length - i >= sizeof ahead) {
            memcpy(&ahead, bytes + i, sizeof ahead);
            if (!(ahead & UINT64_C(0x8080808080808080))) {
                i += sizeof ahead;
                continue;
            }
        }
        uint32_t cp;
        size_t size = engine_utf8_decode(bytes + i, length - i, &cp);
        if (cp == ENGINE_REPLACEMENT && !(size == 3 && memcmp(bytes + i, "\xEF\xBF\xBD", 3) == 0))
            return false;
        i += size;
    }
    return true;
}

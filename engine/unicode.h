/* unicode.h: UTF-8 and the properties of characters, as the Unicode versions that `tokenizers` was
 * built with have them. */
#ifndef ENGINE_UNICODE_H
#define ENGINE_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENGINE_UNICODE_COUNT 0x110000
#define ENGINE_REPLACEMENT 0xFFFDu
/* Most characters that a canonical decomposition gives, and bytes that a character takes. */
#define ENGINE_DECOMPOSITION_MAX 8
#define ENGINE_UTF8_MAX 4

/* Reads the character at bytes (length >= 1): its code point into *cp, U+FFFD for a maximal
 * ill-formed part; returns the bytes read. */
size_t engine_utf8_decode(const uint8_t *bytes, size_t length, uint32_t *cp);
/* Writes cp as UTF-8 and returns its bytes, 1 to 4. */
size_t engine_utf8_encode(uint32_t cp, uint8_t *bytes);
/* Reads the character that ends just before bytes[position], position >= 1, and returns where it
 * starts. */
size_t engine_utf8_before(const uint8_t *bytes, size_t position, uint32_t *cp);
/* Characters in length bytes, each maximal ill-formed part being one. */
size_t engine_utf8_count(const uint8_t *bytes, size_t length);
bool engine_utf8_valid(const uint8_t *bytes, size_t length);

bool engine_unicode_space(uint32_t cp);       /* White_Space */
bool engine_unicode_other(uint32_t cp);       /* categories Cc, Cf, Co: what cleaning removes */
bool engine_unicode_punctuation(uint32_t cp); /* categories P* and all ASCII symbols */
bool engine_unicode_mark(uint32_t cp);        /* category Mn: an accent */
bool engine_unicode_word(uint32_t cp);        /* \w of regular expressions */
bool engine_unicode_chinese(uint32_t cp);     /* the blocks of BERT's CJK rule */
int engine_unicode_combining(uint32_t cp);    /* canonical combining class, 0 for a starter */
/* Lower case without context: returns 1 or 2 characters. */
int engine_unicode_lower(uint32_t cp, uint32_t out[2]);
/* Full canonical decomposition, not reordered: returns 1 to ENGINE_DECOMPOSITION_MAX characters. */
int engine_unicode_decompose(uint32_t cp, uint32_t out[ENGINE_DECOMPOSITION_MAX]);

#endif

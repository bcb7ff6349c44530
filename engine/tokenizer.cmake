# The tokenizer's part of the engine library.
set(ENGINE_TOKENIZER_SOURCES
  added_tokens.c
  encode.c
  normalizer.c
  tokenizer.c
  tokenizer_create.c
  unicode.c
  vocabulary.c
  wordpiece.c)

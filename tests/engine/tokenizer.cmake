# The tokenizer: its rules, the recorded answers of `tokenizers`, and with the label full the whole comparison.
distild_test(test_tokenizer SOURCES test_tokenizer.c tokenizer_fixture.c LIBS distil_static)
distild_test(test_tokenizer_trouble SOURCES test_tokenizer_trouble.c tokenizer_fixture.c LIBS distil_static)
target_link_options(test_tokenizer_trouble PRIVATE -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc)
distild_test(test_tokenizer_golden SOURCES test_tokenizer_golden.c LIBS distil_static)

add_executable(tokenize_driver tokenize_driver.c)
target_link_libraries(tokenize_driver PRIVATE distil_static distild_options)
add_test(NAME tokenizer_parity
  COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tokenizer_parity.py $<TARGET_FILE:tokenize_driver>)
set_tests_properties(tokenizer_parity PROPERTIES LABELS full SKIP_RETURN_CODE ${DISTILD_TEST_SKIP} TIMEOUT 900)

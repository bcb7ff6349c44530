# distild_embed(NAME FILE): makes NAME.c in the current build folder, which holds FILE as `const char server_NAME[]` (NUL-terminated),
# of `const size_t server_NAME_length` bytes.
#
# Run as a script (cmake -P), it is what makes that file.
if(CMAKE_SCRIPT_MODE_FILE AND EMBED_OUTPUT)
  file(READ "${EMBED_INPUT}" bytes HEX)
  string(LENGTH "${bytes}" digits)
  math(EXPR length "${digits} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
  file(WRITE "${EMBED_OUTPUT}" "/* Made by the build from ${EMBED_NAME}. */\n#include \"server/pages.h\"\n\n"
    "const char server_${EMBED_SYMBOL}[] = {\n${bytes}0};\nconst size_t server_${EMBED_SYMBOL}_length = ${length};\n")
  return()
endif()

set(DISTILD_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})
function(distild_embed name file)
  set(input ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${name}.c)
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DEMBED_INPUT=${input} -DEMBED_OUTPUT=${output} -DEMBED_SYMBOL=${name} -DEMBED_NAME=${file} -P ${DISTILD_EMBED_SCRIPT}
    DEPENDS ${input} ${DISTILD_EMBED_SCRIPT} VERBATIM)
endfunction()

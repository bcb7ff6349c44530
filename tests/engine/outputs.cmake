# Embeddings and spans of answers against the recorded answers of transformers (tests/golden).
set(GOLDEN ${PROJECT_SOURCE_DIR}/tests/golden)

add_executable(test_outputs test_outputs.c comparison.c ${GOLDEN}/fixture.c)
target_link_libraries(test_outputs PRIVATE test_suite distil_static distild_options PkgConfig::CHECK PkgConfig::CJSON m)
if(TARGET distild_emulated AND NOT DISTILD_SANITIZE)
  add_executable(test_outputs_emulated test_outputs.c comparison.c ${GOLDEN}/fixture.c $<TARGET_OBJECTS:distild_emulated>)
  target_link_libraries(test_outputs_emulated PRIVATE test_suite distil_static distild_options PkgConfig::CHECK PkgConfig::CJSON m)
  target_compile_definitions(test_outputs_emulated PRIVATE FIRST_LEVEL=KERN_AMX)
endif()

# distild_outputs(NAME arguments...): test_outputs with these arguments, as the ctest outputs_NAME.
function(distild_outputs name)
  distild_add_outputs(test_outputs ${name} ${ARGN})
endfunction()
function(distild_add_outputs program name)
  add_test(NAME outputs_${name} COMMAND ${program} ${ARGN})
  math(EXPR timeout "300 * ${DISTILD_TEST_PATIENCE}")
  set_tests_properties(outputs_${name} PROPERTIES SKIP_RETURN_CODE ${DISTILD_TEST_SKIP} TIMEOUT ${timeout}
    ENVIRONMENT "DISTILD_SOURCE_DIR=${PROJECT_SOURCE_DIR};CK_TIMEOUT_MULTIPLIER=${DISTILD_TEST_PATIENCE}")
endfunction()

foreach(name bert-mean distilbert-cls distilbert-max bert-spans distilbert-spans)
  set(checkpoint ${GOLDEN}/tiny-outputs/${name})
  set(arguments ${checkpoint} ${checkpoint}/outputs.safetensors --split-tolerance 1e-3)
  distild_outputs(${name} ${arguments} --cases ${checkpoint}/cases.json)
  distild_outputs(${name}_converted ${arguments} --cases ${checkpoint}/cases.json --store fp32)
  if(TARGET test_outputs_emulated)
    distild_add_outputs(test_outputs_emulated emulated_${name} ${arguments} --cases ${checkpoint}/cases.json)
  endif()
endforeach()

# The bundled models are the trained checkpoints with their matrices rounded to int8. The checkpoints themselves are on some
# machines only.
set(some_texts) # all of them; sanitizers make the long ones slow
if(DISTILD_SANITIZE)
  set(some_texts --texts 10)
endif()
foreach(name all-minilm-l6-v2 qa-minilm)
  distild_outputs(bundled_${name} ${PROJECT_SOURCE_DIR}/weights/${name}.distild ${GOLDEN}/${name}-int8.safetensors --reduced
    ${some_texts})
  distild_outputs(trained_${name} shared:models/${name} ${GOLDEN}/${name}-fp32.safetensors)
  # Their threads fill the machine: beside another test both would crawl.
  set_tests_properties(outputs_bundled_${name} outputs_trained_${name} PROPERTIES PROCESSORS 2)
  set_tests_properties(outputs_trained_${name} PROPERTIES LABELS full)
endforeach()

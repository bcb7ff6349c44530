# The forward pass against the recorded answers of transformers (tests/golden).
set(GOLDEN ${PROJECT_SOURCE_DIR}/tests/golden)

add_executable(test_parity test_parity.c comparison.c ${GOLDEN}/fixture.c)
target_link_libraries(test_parity PRIVATE test_suite distil_static distild_options PkgConfig::CHECK PkgConfig::CJSON m)

# distild_parity_with(PROGRAM NAME arguments...): PROGRAM with these arguments, as the ctest parity_NAME.
function(distild_parity_with program name)
  add_test(NAME parity_${name} COMMAND ${program} ${ARGN})
  math(EXPR timeout "300 * ${DISTILD_TEST_PATIENCE}")
  set_tests_properties(parity_${name} PROPERTIES SKIP_RETURN_CODE ${DISTILD_TEST_SKIP} TIMEOUT ${timeout}
    ENVIRONMENT "DISTILD_SOURCE_DIR=${PROJECT_SOURCE_DIR};CK_TIMEOUT_MULTIPLIER=${DISTILD_TEST_PATIENCE}")
endfunction()

# distild_parity(NAME arguments...): the same with test_parity.
function(distild_parity name)
  distild_parity_with(test_parity ${name} ${ARGN})
endfunction()

# The same at level amx, on emulated instructions (see kernels/CMakeLists.txt of the tests).
if(TARGET distild_emulated AND NOT DISTILD_SANITIZE)
  add_executable(test_parity_emulated test_parity.c comparison.c ${GOLDEN}/fixture.c $<TARGET_OBJECTS:distild_emulated>)
  target_link_libraries(test_parity_emulated PRIVATE test_suite distil_static distild_options PkgConfig::CHECK PkgConfig::CJSON m)
  target_compile_definitions(test_parity_emulated PRIVATE FIRST_LEVEL=KERN_AMX)
endif()
function(distild_parity_emulated name)
  if(TARGET test_parity_emulated)
    distild_parity_with(test_parity_emulated emulated_${name} ${ARGN})
  endif()
endfunction()

file(GLOB tiny_checkpoints CONFIGURE_DEPENDS ${GOLDEN}/tiny/*/config.json)
foreach(config IN LISTS tiny_checkpoints)
  get_filename_component(checkpoint ${config} DIRECTORY)
  get_filename_component(name ${checkpoint} NAME)
  set(arguments ${checkpoint} ${checkpoint}/parity.safetensors --split-tolerance 2e-4)
  distild_parity(${name} ${arguments} --cases ${checkpoint}/cases.json)
  distild_parity(${name}_converted ${arguments} --store fp32)
  distild_parity_emulated(${name} ${arguments} --cases ${checkpoint}/cases.json)
endforeach()
# The bundled model is the trained checkpoint with its matrices rounded to int8. The checkpoint itself is beside the source
# on some machines only.
set(BUNDLED ${PROJECT_SOURCE_DIR}/weights/sst2-minilm.distild)
set(bundled_texts) # all of them; sanitizers make the long ones slow
if(DISTILD_SANITIZE)
  set(bundled_texts --texts 10)
endif()
distild_parity(bundled ${BUNDLED} ${GOLDEN}/sst2-minilm-int8.safetensors --reduced ${bundled_texts})
distild_parity_emulated(bundled ${BUNDLED} ${GOLDEN}/sst2-minilm-int8.safetensors --reduced --texts 6)
distild_parity(trained shared:models/sst2-minilm ${GOLDEN}/sst2-minilm-fp32.safetensors --reduced)
distild_parity_emulated(trained shared:models/sst2-minilm ${GOLDEN}/sst2-minilm-fp32.safetensors --reduced --texts 12)
# The sentences that split bf16 products have moved most.
distild_parity_emulated(hardest shared:models/sst2-minilm ${GOLDEN}/sst2-minilm-hardest.safetensors)
if(TARGET test_parity_emulated)
  set_tests_properties(parity_emulated_trained PROPERTIES LABELS full PROCESSORS 2)
endif()
distild_parity(trained_int8_stored shared:models/sst2-minilm ${GOLDEN}/sst2-minilm-int8.safetensors --store int8)
set_tests_properties(parity_trained parity_trained_int8_stored PROPERTIES LABELS full)
# Their threads fill the machine: beside another test both would crawl.
set_tests_properties(parity_bundled parity_trained parity_trained_int8_stored PROPERTIES PROCESSORS 2)

add_test(NAME parity_full COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/parity_full.py ${PROJECT_BINARY_DIR})
set_tests_properties(parity_full PROPERTIES LABELS full SKIP_RETURN_CODE ${DISTILD_TEST_SKIP} TIMEOUT 3600)

# SPDX-License-Identifier: Apache-2.0
# Builds the fuzz targets with clang's libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, then runs each.
#   SOURCE, BUILD: folders; COMPILER: clang++; RUNS: target=inputs;...
cmake_minimum_required(VERSION 3.25)

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "failed (${status}): ${command}")
  endif()
endfunction()

run(${CMAKE_COMMAND} -S "${SOURCE}" -B "${BUILD}" -G Ninja "-DCMAKE_CXX_COMPILER=${COMPILER}" -DCMAKE_BUILD_TYPE=RelWithDebInfo
  -DGAPLESS_CHECK_LEVEL=2 -DGAPLESS_SANITIZER=fuzzer -DGAPLESS_ENABLE_CUDA=OFF -DGAPLESS_BUILD_TORCH=OFF
  -DGAPLESS_BUILD_SIMCUDA=OFF -DGAPLESS_BUILD_TOOLS=OFF -DGAPLESS_BUILD_BENCH=OFF)
run(${CMAKE_COMMAND} --build "${BUILD}" --target gapless_fuzzers --parallel 2)

foreach(item IN LISTS RUNS)
  string(REPLACE "=" ";" item "${item}")
  list(GET item 0 target)
  list(GET item 1 inputs)
  if(DEFINED ENV{GAPLESS_TEST_FULL})
    math(EXPR inputs "${inputs} * 10")
  endif()
  set(here "${SOURCE}/tests/fuzz")
  # The first folder takes what is found; the committed corpus is only read.
  set(found "${BUILD}/corpus/${target}")
  file(MAKE_DIRECTORY "${found}")
  set(dictionary "")
  if(EXISTS "${here}/${target}.dict")
    set(dictionary "-dict=${here}/${target}.dict")
  endif()
  run("${BUILD}/bin/fuzz_${target}" -seed=1 -runs=${inputs} -max_len=2048 -timeout=20 -verbosity=0 -print_final_stats=1
    "-artifact_prefix=${BUILD}/${target}-" ${dictionary} "${found}" "${here}/corpus/${target}")
endforeach()

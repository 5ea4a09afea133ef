# SPDX-License-Identifier: Apache-2.0
# Options, warnings and sanitizers. Nothing here edits CMAKE_CXX_FLAGS: everything hangs on gapless_flags.
option(GAPLESS_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(GAPLESS_BUILD_EXAMPLES "Build the example trainers" ${PROJECT_IS_TOP_LEVEL})
option(GAPLESS_BUILD_BENCH "Build the benchmarks" ${PROJECT_IS_TOP_LEVEL})
option(GAPLESS_BUILD_TOOLS "Build gapless-replay and gapless-sim" ${PROJECT_IS_TOP_LEVEL})
option(GAPLESS_BUILD_SIMCUDA "Build the simulated device's libraries (needs the CUDA toolkit's headers)" ${PROJECT_IS_TOP_LEVEL})
option(GAPLESS_BUILD_TORCH "Build the PyTorch library (needs torch)" ${PROJECT_IS_TOP_LEVEL})
option(GAPLESS_BUILD_STATIC "Build libgapless.a besides the shared library" ${PROJECT_IS_TOP_LEVEL})
option(GAPLESS_ENABLE_CUDA "Look for the CUDA toolkit" ON)
option(GAPLESS_WERROR "Treat warnings as errors" OFF)
set(GAPLESS_CHECK_LEVEL "" CACHE STRING "Invariant checks compiled in: 0 none, 1 O(1), 2 each operation, 3 whole structures (default: 1 in release, 2 in debug)")
set(GAPLESS_SANITIZER "" CACHE STRING "Empty, address (with undefined), thread, or fuzzer (clang: address, undefined and libFuzzer)")
set(GAPLESS_TORCH_ROOT "" CACHE PATH "Folder of the torch package (site-packages/torch); empty: asked of python3")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(gapless_flags INTERFACE)
target_compile_options(gapless_flags INTERFACE
  -Wall -Wextra -Wshadow
  $<$<COMPILE_LANGUAGE:CXX>:-Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual>
  # GCC 12 sees an overlap in "text" + std::string (GCC bug 105651); 13 does not.
  $<$<AND:$<COMPILE_LANG_AND_ID:CXX,GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict>
  $<$<BOOL:${GAPLESS_WERROR}>:-Werror>)
if(NOT GAPLESS_CHECK_LEVEL STREQUAL "")
  target_compile_definitions(gapless_flags INTERFACE GAPLESS_CHECK_LEVEL=${GAPLESS_CHECK_LEVEL})
endif()
if(GAPLESS_SANITIZER STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # With these sanitizers GCC takes members of std::function inside std::regex for uninitialized (GCC bug 105562).
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized>)
  endif()
  add_link_options(-fsanitize=address,undefined)
elseif(GAPLESS_SANITIZER STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # It does not model fences. The one of PrivatePools::reap orders a store before a load and publishes nothing.
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-tsan>)
  endif()
  add_link_options(-fsanitize=thread)
elseif(GAPLESS_SANITIZER STREQUAL "fuzzer")
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(NOT GAPLESS_SANITIZER STREQUAL "")
  message(FATAL_ERROR "GAPLESS_SANITIZER is '${GAPLESS_SANITIZER}': it must be empty, address, thread or fuzzer")
endif()

# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where, and how other projects find it: find_package(gapless), pkg-config gapless.
#
# Every target is asked for by name, so that a build that left something out installs the rest.
include(CMakePackageConfigHelpers)

set(GAPLESS_CMAKE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/gapless")
# Where src/simcuda installs its libraries: on no loader path, since a stand-in for libcuda.so.1 must never be found by a program
# that was not told to run on it.
set(GAPLESS_SIMCUDA_DIR "${CMAKE_INSTALL_LIBDIR}/gapless/simcuda")

# The soname follows gapless.h, so the two cannot differ.
file(STRINGS "${PROJECT_SOURCE_DIR}/include/gapless/gapless.h" abi_line REGEX "^#define GAPLESS_ABI_VERSION ")
string(REGEX REPLACE ".* ([0-9]+)$" "\\1" GAPLESS_ABI_VERSION "${abi_line}")
if(NOT SKBUILD)
  # A wheel has no links, and two copies of one library in a process would be two allocators: there the file has one name.
  set_target_properties(gapless PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${GAPLESS_ABI_VERSION})
endif()

file(GLOB_RECURSE public_headers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/include/gapless/*.h" "${PROJECT_SOURCE_DIR}/include/gapless/*.hpp")
target_sources(gapless PUBLIC FILE_SET HEADERS BASE_DIRS "${PROJECT_SOURCE_DIR}/include" FILES ${public_headers})
install(TARGETS gapless EXPORT gaplessTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

if(GAPLESS_BUILD_STATIC)
  add_library(gapless_static STATIC $<TARGET_OBJECTS:gapless_core>)
  add_library(gapless::gapless_static ALIAS gapless_static)
  set_target_properties(gapless_static PROPERTIES OUTPUT_NAME gapless LINKER_LANGUAGE CXX)
  target_include_directories(gapless_static INTERFACE
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  # stdc++ by name: a C program that links the archive has no C++ linker to add it.
  target_link_libraries(gapless_static INTERFACE stdc++ Threads::Threads ${CMAKE_DL_LIBS})
  install(TARGETS gapless_static EXPORT gaplessTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()

install(TARGETS gapless_preload LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})

if(TARGET gapless_torch)
  # A program that links gapless::torch is compiled with one more source, whose constructor installs the allocator.
  set_target_properties(gapless_torch PROPERTIES EXPORT_NAME torch)
  target_sources(gapless_torch INTERFACE
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/cmake/install_at_start.cpp>"
    "$<INSTALL_INTERFACE:$<INSTALL_PREFIX>/${CMAKE_INSTALL_DATADIR}/gapless/install_at_start.cpp>")
  install(TARGETS gapless_torch EXPORT gaplessTorchTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(FILES "${PROJECT_SOURCE_DIR}/cmake/install_at_start.cpp" DESTINATION ${CMAKE_INSTALL_DATADIR}/gapless)
  install(FILES "${PROJECT_SOURCE_DIR}/src/torch/gapless_torch.h" DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gapless)
  install(EXPORT gaplessTorchTargets NAMESPACE gapless:: DESTINATION ${GAPLESS_CMAKE_DIR})
endif()

if(TARGET gapless_kernels)
  install(TARGETS gapless_kernels LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(FILES "${PROJECT_SOURCE_DIR}/kernels/gapless_kernels.h" DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gapless)
endif()

if(TARGET gapless-replay)
  install(TARGETS gapless-replay RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# For a PyTorch that no library was built for, the Python package compiles one.
file(GLOB torch_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/torch/*.cpp" "${PROJECT_SOURCE_DIR}/src/torch/*.hpp"
  "${PROJECT_SOURCE_DIR}/src/torch/*.h" "${PROJECT_SOURCE_DIR}/src/torch/*.map")
install(FILES ${torch_sources} DESTINATION ${CMAKE_INSTALL_DATADIR}/gapless/torch)

install(EXPORT gaplessTargets NAMESPACE gapless:: DESTINATION ${GAPLESS_CMAKE_DIR})
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/gaplessConfig.cmake.in" "${PROJECT_BINARY_DIR}/gaplessConfig.cmake"
  INSTALL_DESTINATION ${GAPLESS_CMAKE_DIR} PATH_VARS GAPLESS_SIMCUDA_DIR CMAKE_INSTALL_BINDIR CMAKE_INSTALL_INCLUDEDIR)
# While the major version is 0, a minor version may break the C++ face and the package's targets.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/gaplessConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/gaplessConfig.cmake" "${PROJECT_BINARY_DIR}/gaplessConfigVersion.cmake"
  DESTINATION ${GAPLESS_CMAKE_DIR})

# Relative to the file's own folder, so that the installed tree may be moved.
file(RELATIVE_PATH GAPLESS_PREFIX_FROM_PC "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
configure_file("${PROJECT_SOURCE_DIR}/cmake/gapless.pc.in" "${PROJECT_BINARY_DIR}/gapless.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/gapless.pc" DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" "${PROJECT_SOURCE_DIR}/NOTICE" DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/gapless)

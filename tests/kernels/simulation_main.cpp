// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdio>

#include "simulation.hpp"

namespace gapless::kernels {

void* driver = nullptr;
void* runtime = nullptr;
void* library = nullptr;

namespace {

// In this order: the loader then takes these for the libraries that gapless and its kernels need.
bool load() {
  driver = dlopen(GAPLESS_TEST_DRIVER, RTLD_NOW | RTLD_GLOBAL);
  if (driver == nullptr) return false;
  if (find<decltype(gapless_sim_configure)>(driver,
                                            "gapless_sim_configure")("size=1GiB,data=1,strict=1,completion=lazy") != 0)
    return false;
  runtime = dlopen(GAPLESS_TEST_RUNTIME, RTLD_NOW | RTLD_GLOBAL);
  library = runtime == nullptr ? nullptr : dlopen(GAPLESS_TEST_KERNELS, RTLD_NOW | RTLD_LOCAL);
  return library != nullptr;
}

}  // namespace
}  // namespace gapless::kernels

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (!gapless::kernels::load()) {
    const char* const why = dlerror();
    std::fprintf(stderr, "cannot load the libraries: %s\n",
                 why != nullptr ? why : "the simulation refused its options");
    return 2;
  }
  return RUN_ALL_TESTS();
}

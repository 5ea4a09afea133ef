// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "fixture.hpp"

namespace {

// The library opens "libcuda.so.1": the loader then finds the one that is loaded already, by its soname.
bool load_driver() {
  void* driver = dlopen(GAPLESS_TEST_DRIVER, RTLD_NOW | RTLD_GLOBAL);
  if (driver == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return false;
  }
  auto* configure = reinterpret_cast<int (*)(const char*)>(dlsym(driver, "gapless_sim_configure"));
  return configure != nullptr && configure(gapless::test::kSimulatedMachine) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (!load_driver()) return 2;
  return RUN_ALL_TESTS();
}

// SPDX-License-Identifier: Apache-2.0
// A machine whose libcuda.so.1 is too old. (One without any is every machine without a GPU: there, too, `why` says so.)
#include <dlfcn.h>
#include <gtest/gtest.h>

#include "driver/cuda_driver.hpp"

namespace gapless::driver {
namespace {

TEST(NoCudaDriver, WithoutALibraryOpeningSaysSo) {
  if (void* real = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)) {
    ::dlclose(real);
    GTEST_SKIP() << "this machine has a CUDA driver";
  }
  std::string why;
  EXPECT_EQ(open_cuda_driver(why), nullptr);
  EXPECT_EQ(why.substr(0, 15), "no CUDA driver:") << why;
}

TEST(NoCudaDriver, AnOldOneNamesWhatItLacks) {
  ASSERT_NE(::dlopen(GAPLESS_OLD_LIBCUDA, RTLD_NOW | RTLD_LOCAL), nullptr) << ::dlerror();
  std::string why;
  EXPECT_EQ(open_cuda_driver(why), nullptr);
  EXPECT_EQ(why, "the CUDA driver is too old: libcuda.so.1 has no cuMemAddressReserve");
}

}  // namespace
}  // namespace gapless::driver

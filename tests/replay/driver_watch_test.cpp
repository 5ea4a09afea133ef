// SPDX-License-Identifier: Apache-2.0
// The cost model's rule that decides between creation and remapping, call by call.
#include "tools/replay/driver_watch.hpp"

#include <gtest/gtest.h>

namespace gapless::tools {
namespace {

constexpr std::uint64_t kGranule = 2u << 20;
constexpr double kCreate = 150.0 + 1900.0 * 2 / 1024;

class Watch : public ::testing::Test {
 protected:
  void call(const char* function, std::uint64_t address = 0, std::uint64_t bytes = 0, std::uint64_t handle = 0,
            int result = 0) {
    gapless_sim_call record{};
    record.result = result;
    record.struct_size = sizeof record;
    record.function = function;
    record.address = address;
    record.bytes = bytes;
    record.handle = handle;
    DriverWatch::on_call(&watch_, &record);
  }

  DriverWatch watch_;
};

TEST_F(Watch, CallsOutsideTheAllocatorAreNotItsOwn) {
  call("cuMemCreate", 0, kGranule, 1);
  call("cuEventRecord");
  EXPECT_EQ(watch_.time().total_us(), 0);
}

TEST_F(Watch, MappingANewHandleIsCreation) {
  watch_.begin(0, 'a');
  call("cuMemCreate", 0, kGranule, 1);
  call("cuMemCreate", 0, kGranule, 2);
  call("cuMemMap", 0x1000000, kGranule, 1);
  call("cuMemMap", 0x1000000 + kGranule, kGranule, 2);
  call("cuMemSetAccess", 0x1000000, 2 * kGranule);
  EXPECT_DOUBLE_EQ(watch_.time().create_us, 2 * kCreate + 3 + 36);
  EXPECT_EQ(watch_.time().remap_us, 0);
}

TEST_F(Watch, MappingAnOldHandleIsRemapping) {
  watch_.begin(0, 'a');
  call("cuMemCreate", 0, kGranule, 1);
  watch_.end();
  watch_.begin(1, 'a');
  call("cuMemUnmap", 0x1000000, kGranule);
  call("cuMemMap", 0x1000000, kGranule, 1);
  call("cuMemSetAccess", 0x1000000, kGranule);
  call("cuEventRecord");
  call("cuEventQuery");
  call("cuStreamWaitEvent");
  call("cuMemRelease", 0, 0, 1);
  EXPECT_DOUBLE_EQ(watch_.time().remap_us, 26 + 1.5 + 36 + 1 + 0.5 + 1 + 50);
}

TEST_F(Watch, AccessToAMixedRangeIsRemapping) {
  watch_.begin(0, 'a');
  call("cuMemCreate", 0, kGranule, 1);
  call("cuMemMap", 0x1000000, kGranule, 1);
  call("cuMemMap", 0x1000000 + kGranule, kGranule, 99);
  call("cuMemSetAccess", 0x1000000, 2 * kGranule);
  EXPECT_DOUBLE_EQ(watch_.time().create_us, kCreate + 1.5);
  EXPECT_DOUBLE_EQ(watch_.time().remap_us, 1.5 + 36);
}

TEST_F(Watch, OnlyWaitsInsideAnAllocationAreStalls) {
  watch_.begin(0, 'f');
  call("cuEventSynchronize");
  watch_.end();
  call("cuEventSynchronize");
  watch_.begin(1, 'a');
  call("cudaStreamSynchronize");
  watch_.end();
  EXPECT_EQ(watch_.time().stalls, 1u);
}

TEST_F(Watch, AQuestionThatTheDeviceRefusesIsNoMemoryWork) {
  watch_.begin(0, 'a');
  call("cuMemCreate", 0, kGranule, 0, 801);
  EXPECT_EQ(watch_.time().total_us(), 0);
  EXPECT_EQ(watch_.refused("cuMemCreate"), 1u);
  call("cuMemCreate", 0, kGranule, 0, 2);  // out of memory is an answer
  EXPECT_EQ(watch_.refused("cuMemCreate"), 1u);
  EXPECT_DOUBLE_EQ(watch_.time().create_us, kCreate);
}

TEST(CostModel, KnowsVersionedNames) {
  EXPECT_EQ(cost_of("cuMemAlloc_v2").microseconds, 200);
  EXPECT_EQ(cost_of("cuEventRecord_ptsz").microseconds, 1);
  EXPECT_EQ(cost_of("cuCtxGetCurrent").call_class, CallClass::other);
  EXPECT_TRUE(is_memory_call("cuMemAddressReserve"));
  EXPECT_TRUE(is_memory_call("cudaMallocAsync"));
  EXPECT_FALSE(is_memory_call("cudaEventQuery"));
}

}  // namespace
}  // namespace gapless::tools

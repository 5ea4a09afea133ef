// SPDX-License-Identifier: Apache-2.0
// Live bytes stay as they are while the idle granules around them move: checksums by the kernel, on a device that keeps
// bytes.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "gapless/gapless.hpp"
#include "simulation.hpp"

namespace gapless {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

class Moving : public testing::Test {
 protected:
  static OpenOptions tight() {
    OpenOptions options;
    options.options = "slack:1.0";  // nothing is created that could be moved
    options.read_environment = false;
    return options;
  }
  void fill(const Block& block, std::uint64_t seed) {
    const gapless_guard_range range{reinterpret_cast<std::uintptr_t>(block.data()), block.size(), seed};
    ASSERT_EQ(KERNELS(gapless_kernels_guard_fill)(&range, 1, nullptr), GAPLESS_OK);
  }
  std::vector<std::uint64_t> sums(const std::vector<Block>& blocks) {
    std::vector<gapless_checksum_range> ranges;
    for (const Block& block : blocks) ranges.push_back({reinterpret_cast<std::uintptr_t>(block.data()), block.size()});
    const Block out = gpu.allocate(ranges.size() * sizeof(std::uint64_t));
    EXPECT_EQ(KERNELS(gapless_kernels_checksum)(ranges.data(), ranges.size(), static_cast<std::uint64_t*>(out.data()),
                                                nullptr),
              GAPLESS_OK);
    std::vector<std::uint64_t> values(ranges.size());
    EXPECT_EQ(RUNTIME(cudaMemcpy)(values.data(), out.data(), out.size(), cudaMemcpyDeviceToHost), cudaSuccess);
    return values;
  }

  Allocator allocator = Allocator::open(tight());
  Device gpu = allocator.device(0);
};

TEST_F(Moving, LiveBytesAreUnchanged) {
  const auto violations = kernels::find<decltype(gapless_sim_violations)>(kernels::driver, "gapless_sim_violations");
  const std::uint64_t before = violations();
  std::mt19937_64 random(3);
  std::vector<Block> live;
  std::vector<Block> between;  // their places become the holes that give granules up
  for (int i = 0; i < 16; ++i) {
    live.push_back(gpu.allocate(100 + random() % (5 * kMiB)));
    fill(live.back(), random());
    between.push_back(gpu.allocate(kMiB + random() % (7 * kMiB)));
    fill(between.back(), random());
  }
  const std::vector<std::uint64_t> expected = sums(live);
  for (int round = 0; round < 8; ++round) {
    for (std::size_t i = 0; i < between.size(); i += 2) between[i].reset();
    // Larger than any hole: granules of the holes move under it.
    Block large = gpu.allocate(20 * kMiB + random() % (20 * kMiB));
    fill(large, random());
    EXPECT_EQ(sums(live), expected) << "round " << round;
    large.reset();
    for (std::size_t i = 0; i < between.size(); i += 2) {
      between[i] = gpu.allocate(kMiB + random() % (7 * kMiB));
      fill(between[i], random());
    }
    EXPECT_EQ(sums(live), expected) << "round " << round;
  }
  EXPECT_GT(gpu.stats().moves, 10) << "or nothing was tested";
  // The test would see a byte that changes.
  fill(live[5], 1);
  EXPECT_NE(sums(live), expected);
  EXPECT_EQ(violations(), before);
}

}  // namespace
}  // namespace gapless

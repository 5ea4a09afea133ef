// SPDX-License-Identifier: Apache-2.0
// Memory that another device may use: what is mapped when it is asked for, what is mapped later, and what moves.
#include <random>
#include <vector>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

using Permission = driver::sim::Machine::Permission;

class PeerTest : public EngineTest {
 protected:
  void open_two(std::uint64_t device_bytes = 8 * kGiB) {
    driver::sim::Config config;
    config.devices = 2;
    open(device_bytes, {}, config);
  }
  bool reachable(void* block, std::uint64_t bytes, int device) {
    for (std::uint64_t at = 0; at < bytes; at += std::min(bytes, kGranule)) {
      Permission permission = Permission::none;
      const auto address = reinterpret_cast<driver::Address>(block) + at;
      if (machine_->get_access(address, device, permission) != driver::Result::ok ||
          permission != Permission::read_write)
        return false;
    }
    return true;
  }
};

TEST_F(PeerTest, WhatIsMappedNowAndLater) {
  open_two();
  void* const before = allocate(9 * kMiB);
  void* const small = allocate(100);
  EXPECT_FALSE(reachable(before, 9 * kMiB, 1));
  ASSERT_EQ(gapless_enable_peer(allocator, 0, 1), GAPLESS_OK) << gapless_last_error();
  ASSERT_EQ(gapless_enable_peer(allocator, 0, 1), GAPLESS_OK) << "twice is once";
  void* const after = allocate(50 * kMiB);
  for (const int device : {0, 1}) {
    EXPECT_TRUE(reachable(before, 9 * kMiB, device));
    EXPECT_TRUE(reachable(small, 100, device));
    EXPECT_TRUE(reachable(after, 50 * kMiB, device));
  }
  void* other = nullptr;
  ASSERT_EQ(gapless_allocate(allocator, 1, nullptr, kMiB, &other), GAPLESS_OK);
  EXPECT_FALSE(reachable(other, kMiB, 0)) << "the other way was not asked for";
  for (void* const block : {before, small, after, other}) free(block);
}

// Granules move between places, mappings lie dormant and come back: whatever lives stays reachable.
TEST_F(PeerTest, WhatMovesStaysReachable) {
  open_two(256 * kMiB);
  std::mt19937_64 random(5);
  struct Live {
    void* block;
    std::uint64_t bytes;
  };
  std::vector<Live> live;
  std::uint64_t held = 0;
  for (int i = 0; i < 600; i++) {
    if (i == 200) {
      ASSERT_EQ(gapless_enable_peer(allocator, 0, 1), GAPLESS_OK);
    }
    const std::uint64_t bytes = random() % (20 * kMiB) + 1;
    while (held + bytes > 200 * kMiB) {
      const std::size_t at = random() % live.size();
      free(live[at].block);
      held -= live[at].bytes;
      live[at] = live.back();
      live.pop_back();
    }
    live.push_back({allocate(bytes), bytes});
    held += bytes;
    if (i >= 200) {
      EXPECT_TRUE(reachable(live.back().block, bytes, 1)) << i;
    }
  }
  EXPECT_GT(stats().moves, 0);
  for (const Live& one : live) {
    EXPECT_TRUE(reachable(one.block, one.bytes, 1));
    free(one.block);
  }
}

TEST_F(PeerTest, AFailureHalfwayIsTriedAgain) {
  open_two();
  void* const block = allocate(9 * kMiB);
  for (std::uint64_t failing = 0;; failing++) {
    ASSERT_LT(failing, 100u);
    faults_->clear();
    driver::FaultDriver::Rule rule;
    rule.call = driver::Call::set_access;
    rule.skip = failing;
    rule.error = driver::Result::unknown;
    faults_->add(rule);
    const gapless_status status = gapless_enable_peer(allocator, 0, 1);
    if (status == GAPLESS_OK) break;
    EXPECT_EQ(status, GAPLESS_ERROR_DRIVER);
    EXPECT_TRUE(reachable(block, 9 * kMiB, 0));
  }
  EXPECT_TRUE(reachable(block, 9 * kMiB, 1));
  free(block);
}

}  // namespace
}  // namespace gapless::engine

// SPDX-License-Identifier: Apache-2.0
// Handles made ahead of need, step by step and by the thread.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "policy/growth.hpp"

namespace gapless::engine {
namespace {

using driver::Call;

class CreatorTest : public EngineTest {
 protected:
  // Steps until nothing more is wanted. Returns how many handles that made.
  std::uint64_t steps() {
    for (std::uint64_t made = 0;; made++) {
      std::int32_t any = 0;
      EXPECT_EQ(gapless_create_ahead(allocator, 0, &any), GAPLESS_OK);
      if (any == 0) return made;
    }
  }
  static config::Options with_slack(double slack) {
    config::Options options;
    options.slack = slack;
    return options;
  }
  static config::Options with_thread() {
    config::Options options;
    options.background_creation = true;
    return options;
  }
};

TEST_F(CreatorTest, NothingIsMadeBeforeMemoryGrows) {
  open();
  EXPECT_EQ(steps(), 0u);
  void* const a = allocate(100 * kMiB);
  EXPECT_EQ(machine_->physical_bytes(0), 100 * kMiB) << "one granule more would be above the slack";
  free(a);
  validate();
}

TEST_F(CreatorTest, AtMostATwentiethIsMadeAheadAndServesTheNextMiss) {
  open(80 * kGiB, with_slack(2.0));
  void* const a = allocate(1 * kGiB);
  EXPECT_EQ(steps(), 0u) << "nobody asked yet: the first step turns it on";
  void* const b = allocate(1 * kGiB);
  EXPECT_EQ(reserved(), 2 * kGiB);
  const std::uint64_t ahead = steps();
  EXPECT_GE(ahead * policy::kPartAhead + policy::kPartAhead, 1024u);
  EXPECT_LE(ahead * kGranule * policy::kPartAhead, reserved());
  EXPECT_EQ(reserved(), machine_->physical_bytes(0)) << "they count as reserved";
  const std::uint64_t creates = faults_->calls(Call::create);
  void* const c = allocate(ahead * kGranule);
  EXPECT_EQ(faults_->calls(Call::create), creates) << "all of it was ready";
  for (void* block : {a, b, c}) free(block);
  validate();
}

TEST_F(CreatorTest, NeverBeyondTheSlack) {
  open();
  std::vector<void*> blocks;
  static_cast<void>(steps());
  for (int i = 0; i < 40; i++) {
    blocks.push_back(allocate(100 * kMiB));
    static_cast<void>(steps());
    EXPECT_LE(static_cast<double>(reserved()), 1.01 * static_cast<double>(blocks.size()) * 100 * kMiB);
  }
  for (void* block : blocks) free(block);
  validate();
}

TEST_F(CreatorTest, ATrimTakesThemFirstAndNoneFollow) {
  open(80 * kGiB, with_slack(2.0));
  static_cast<void>(steps());
  void* const a = allocate(1 * kGiB);
  const std::uint64_t ahead = steps();
  ASSERT_GT(ahead, 10u);
  std::size_t released = 0;
  ASSERT_EQ(gapless_trim(allocator, 0, {0, 0}, 1 * kGiB, &released), GAPLESS_OK);
  EXPECT_EQ(released, ahead * kGranule);
  EXPECT_EQ(steps(), 0u) << "until memory grows again";
  free(a);
  validate();
}

TEST_F(CreatorTest, AllOfTheDeviceCanBeHad) {
  open(256 * kMiB, with_slack(2.0));
  static_cast<void>(steps());
  void* const a = allocate(160 * kMiB);
  ASSERT_GT(steps(), 0u);
  void* const b = allocate(96 * kMiB);
  void* none = nullptr;
  EXPECT_EQ(try_allocate(2 * kMiB, none), GAPLESS_ERROR_OUT_OF_MEMORY);
  free(a);
  free(b);
  validate();
}

TEST_F(CreatorTest, TheLimitHolds) {
  open(80 * kGiB, with_slack(2.0));
  ASSERT_EQ(gapless_set_limit(allocator, 0, 202 * kMiB), GAPLESS_OK);
  static_cast<void>(steps());
  void* const a = allocate(200 * kMiB);
  EXPECT_EQ(steps(), 1u);
  EXPECT_EQ(reserved(), 202 * kMiB);
  free(a);
  validate();
}

TEST_F(CreatorTest, WhatOthersNeedIsLeftToThem) {
  driver::sim::Config machine;
  machine.other = 760 * kMiB;
  open(1 * kGiB, with_slack(2.0), machine);
  static_cast<void>(steps());
  void* const a = allocate(220 * kMiB);  // leaves 44 MiB of 1 GiB
  EXPECT_EQ(steps(), 0u);
  free(a);
  validate();
}

TEST_F(CreatorTest, AFailedStepChangesNothing) {
  open(80 * kGiB, with_slack(2.0));
  static_cast<void>(steps());
  void* const a = allocate(1 * kGiB);
  faults_->add({.call = Call::create});
  EXPECT_EQ(steps(), 0u);
  validate();
  EXPECT_EQ(steps(), 0u) << "it waits for a miss";
  void* const b = allocate(100 * kMiB);
  EXPECT_GT(steps(), 0u);
  free(a);
  free(b);
  validate();
}

TEST_F(CreatorTest, TheThreadMakesHandlesBesideTheProgram) {
  open(80 * kGiB, with_thread());
  std::vector<void*> blocks;
  for (int i = 0; i < 20; i++) blocks.push_back(allocate(64 * kMiB));
  const gapless_stats now = stats();
  EXPECT_EQ(now.misses, 20);
  EXPECT_EQ(now.num_ooms, 0);
  for (void* block : blocks) free(block);
  std::size_t released = 0;
  ASSERT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_OK);
  validate();
  EXPECT_EQ(machine_->physical_bytes(0), 0u);
  free(allocate(64 * kMiB));  // closed while the thread may be at work
}

TEST_F(CreatorTest, ThreadsThatGrowAndShrinkWithIt) {
  open(2 * kGiB, with_thread());
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; t++)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 60; i++) {
        std::vector<void*> blocks;
        for (int k = 0; k < 5; k++) blocks.push_back(allocate(static_cast<std::uint64_t>(10 + i + k) * kMiB));
        for (void* block : blocks) free(block);
        std::size_t released = 0;
        if (t == 0 && i % 10 == 0) {
          EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_OK);
        }
        if (t == 1 && i % 10 == 0) {
          EXPECT_EQ(gapless_set_limit(allocator, 0, 2 * kGiB - static_cast<std::uint64_t>(i) * kMiB), GAPLESS_OK);
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  std::size_t released = 0;
  ASSERT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_OK);
  validate();
}

#if !defined(__SANITIZE_THREAD__)
TEST_F(CreatorTest, AChildHasNoThreadAndEndsCleanly) {
  open(80 * kGiB, with_thread());
  free(allocate(64 * kMiB));  // the device is up
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) {
      free(allocate(96 * kMiB));
      std::size_t released = 0;
      static_cast<void>(gapless_trim(allocator, 0, {0, 0}, 0, &released));
    }
  });
  for (int i = 0; i < 5; i++) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      alarm(20);
      void* out = nullptr;
      const bool refused = gapless_allocate(allocator, 0, nullptr, kGiB, &out) == GAPLESS_ERROR_UNSUPPORTED;
      std::int32_t made = 0;
      const bool none = gapless_create_ahead(allocator, 0, &made) == GAPLESS_ERROR_UNSUPPORTED;
      ASSERT_EQ(gapless_set_limit(allocator, 0, kGiB), GAPLESS_OK);
      allocator->engine.reset();  // what a destructor at exit would do
      _exit(refused && none ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
  stop = true;
  busy.join();
}
#endif

}  // namespace
}  // namespace gapless::engine

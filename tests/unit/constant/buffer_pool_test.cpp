// SPDX-License-Identifier: Apache-2.0
// Constant buffers on the strict simulated device: work that touches a buffer out of order is reported at TearDown.
#include <gtest/gtest.h>

#include <random>
#include <span>
#include <thread>
#include <vector>

#include "unit/engine/fixture.hpp"

namespace gapless::engine {
namespace {

class ConstantBuffers : public EngineTest {
 protected:
  void make(std::uint32_t depth = 2, std::uint32_t most = 0, driver::sim::Config machine = lazy()) {
    open(1 * kGiB, {}, machine);
    gapless_constant_pool_args args = GAPLESS_STRUCT(gapless_constant_pool_args);
    args.depth = depth;
    args.most = most;
    ASSERT_EQ(gapless_constant_pool_create(allocator, &args, &pool), GAPLESS_OK) << gapless_last_error();
  }
  void TearDown() override {
    EXPECT_EQ(gapless_constant_pool_destroy(pool), GAPLESS_OK) << gapless_last_error();
    if (allocator != nullptr) validate();
    EngineTest::TearDown();
  }
  // Nothing is over before somebody waits, so every missing edge shows.
  static driver::sim::Config lazy() {
    driver::sim::Config config;
    config.completion = driver::sim::Completion::lazy;
    return config;
  }

  gapless_lease acquire(std::uint64_t shape_class, std::size_t bytes, void* stream = nullptr) {
    gapless_lease lease = GAPLESS_STRUCT(gapless_lease);
    EXPECT_EQ(gapless_constant_acquire(pool, shape_class, bytes, stream, &lease), GAPLESS_OK) << gapless_last_error();
    return lease;
  }
  gapless_status try_acquire(std::uint64_t shape_class, std::size_t bytes, void* stream = nullptr) {
    gapless_lease lease = GAPLESS_STRUCT(gapless_lease);
    const gapless_status status = gapless_constant_acquire(pool, shape_class, bytes, stream, &lease);
    if (status == GAPLESS_OK) release(lease);
    return status;
  }
  void release(const gapless_lease& lease) {
    EXPECT_EQ(gapless_constant_release(pool, lease.ticket), GAPLESS_OK) << gapless_last_error();
  }
  void pass(const gapless_lease& lease, void* stream) {
    EXPECT_EQ(gapless_constant_pass(pool, lease.ticket, stream), GAPLESS_OK) << gapless_last_error();
  }
  void touch(const gapless_lease& lease, void* stream, bool write) {
    const driver::sim::Access access{
        .base = reinterpret_cast<std::uint64_t>(lease.address), .bytes = lease.bytes, .write = write};
    driver::sim::Operation operation;
    operation.name = write ? "fill" : "read";
    operation.accesses = std::span(&access, 1);
    static_cast<void>(machine_->submit(0, stream, operation));
  }
  gapless_constant_stats pool_stats() {
    gapless_constant_stats out = GAPLESS_STRUCT(gapless_constant_stats);
    EXPECT_EQ(gapless_constant_get_stats(pool, &out), GAPLESS_OK);
    return out;
  }

  gapless_constant_pool* pool = nullptr;
};

TEST_F(ConstantBuffers, TheAddressIsThatOfTheRoundBefore) {
  make(3);
  std::vector<void*> first;
  for (int round = 0; round < 5; ++round) {
    for (std::size_t i = 0; i < 3; ++i) {
      const gapless_lease lease = acquire(7, 3 * kMiB);
      if (round == 0) first.push_back(lease.address);
      EXPECT_EQ(lease.address, first[i]);
      EXPECT_EQ(lease.bytes, 3 * kMiB);
      release(lease);
    }
  }
  EXPECT_NE(first[0], first[1]);
  EXPECT_EQ(pool_stats().buffers, 3u);
  EXPECT_EQ(pool_stats().acquired, 15u);
  EXPECT_EQ(pool_stats().moved, 0u);
}

TEST_F(ConstantBuffers, ClassesLiveSideBySide) {
  make();
  const gapless_lease train = acquire(1, 5 * kMiB);
  const gapless_lease last = acquire(2, 2 * kMiB);
  EXPECT_NE(train.address, last.address);
  release(train);
  release(last);
  acquire(1, 5 * kMiB);
  EXPECT_EQ(pool_stats().classes, 2u);
  EXPECT_EQ(pool_stats().buffers, 3u);
  EXPECT_EQ(pool_stats().bytes, 12 * kMiB);
  EXPECT_EQ(pool_stats().leased, 1u);
  EXPECT_EQ(gapless_constant_pool_destroy(pool), GAPLESS_ERROR_BUSY);
  EXPECT_EQ(gapless_close(allocator), GAPLESS_ERROR_BUSY);
  EXPECT_EQ(gapless_constant_release(pool, 3), GAPLESS_OK);
}

// One stream fills, another reads, a third takes over: the device waits, the host does not, nothing overlaps.
TEST_F(ConstantBuffers, APipelineOverStreamsIsOrdered) {
  make();
  void* const copy = make_stream();
  void* const compute = make_stream();
  const std::int64_t stalls = stats().stalls;
  gapless_lease reading{};
  for (int step = 0; step < 20; ++step) {
    const gapless_lease next = acquire(1, 4 * kMiB, copy);
    touch(next, copy, true);
    pass(next, compute);
    touch(next, compute, false);
    touch(next, compute, true);
    if (step > 0) release(reading);
    reading = next;
  }
  release(reading);
  EXPECT_EQ(machine_->violation_count(), 0u);
  EXPECT_EQ(stats().stalls, stalls);
  EXPECT_EQ(pool_stats().buffers, 2u);
}

// The device does see a reader that nobody passed the lease to: the test above could have failed.
TEST_F(ConstantBuffers, WithoutPassingTheDeviceObjects) {
  make();
  void* const copy = make_stream();
  void* const compute = make_stream();
  const gapless_lease lease = acquire(1, 4 * kMiB, copy);
  touch(lease, copy, true);
  touch(lease, compute, false);
  EXPECT_GT(machine_->violation_count(), 0u);
  release(lease);
  // Closed here: the fixture expects no violation.
  EXPECT_EQ(gapless_constant_pool_destroy(pool), GAPLESS_OK);
  EXPECT_EQ(gapless_close(allocator), GAPLESS_OK);
  pool = nullptr;
  allocator = nullptr;
}

TEST_F(ConstantBuffers, AllLeasedIsBusyUnlessTheRingMayGrow) {
  make(2, 3);
  const gapless_lease a = acquire(1, kMiB);
  const gapless_lease b = acquire(1, kMiB);
  const gapless_lease c = acquire(1, kMiB);
  EXPECT_EQ(try_acquire(1, kMiB), GAPLESS_ERROR_BUSY);
  EXPECT_STREQ(gapless_last_error(), "all buffers of the class are leased (at most 3)");
  EXPECT_EQ(try_acquire(2, kMiB), GAPLESS_OK) << "another class";
  release(b);
  const gapless_lease again = acquire(1, kMiB);
  EXPECT_EQ(again.address, b.address) << "what is still out is passed over";
  for (const gapless_lease& lease : {a, c, again}) release(lease);
}

TEST_F(ConstantBuffers, ALargerRequestMovesAndReserveSparesThat) {
  make();
  void* const streams[] = {make_stream(), make_stream()};
  for (const std::size_t bytes : {kMiB, 3 * kMiB, 2 * kMiB, 3 * kMiB}) {
    for (void* const stream : streams) {
      const gapless_lease lease = acquire(1, bytes, stream);
      touch(lease, stream, true);
      release(lease);
    }
  }
  EXPECT_EQ(pool_stats().moved, 2u);
  EXPECT_EQ(pool_stats().bytes, 6 * kMiB);

  ASSERT_EQ(gapless_constant_reserve(pool, 2, 8 * kMiB, streams[0]), GAPLESS_OK);
  const gapless_stats before = stats();
  for (const std::size_t bytes : {kMiB, 8 * kMiB, 5 * kMiB, 8 * kMiB}) {
    const gapless_lease lease = acquire(2, bytes, streams[1]);
    touch(lease, streams[1], true);
    release(lease);
  }
  EXPECT_EQ(pool_stats().moved, 2u);
  EXPECT_EQ(stats().allocation[GAPLESS_ALL].allocated, before.allocation[GAPLESS_ALL].allocated);
}

TEST_F(ConstantBuffers, TrimLeavesWhatIsLeasedAndStreamsMayGo) {
  make();
  void* const stream = make_stream();
  const gapless_lease kept = acquire(1, 4 * kMiB, stream);
  const gapless_lease idle = acquire(1, 4 * kMiB, stream);
  touch(kept, stream, true);
  touch(idle, stream, true);
  release(idle);
  pass(kept, nullptr);
  ASSERT_EQ(gapless_forget_stream(allocator, 0, stream), GAPLESS_OK);
  ASSERT_EQ(machine_->stream_destroy(0, stream), driver::Result::ok);
  std::size_t released = 0;
  ASSERT_EQ(gapless_constant_trim(pool, &released), GAPLESS_OK);
  EXPECT_EQ(released, 4 * kMiB);
  EXPECT_EQ(pool_stats().buffers, 1u);
  touch(kept, nullptr, true);
  release(kept);
  const gapless_lease again = acquire(1, 4 * kMiB, make_stream());
  release(again);
}

TEST_F(ConstantBuffers, WrongTicketsAndArguments) {
  make();
  const gapless_lease lease = acquire(1, kMiB);
  release(lease);
  EXPECT_EQ(gapless_constant_release(pool, lease.ticket), GAPLESS_ERROR_NOT_FOUND);
  EXPECT_EQ(gapless_constant_pass(pool, 0, nullptr), GAPLESS_ERROR_NOT_FOUND);
  EXPECT_EQ(try_acquire(1, 0), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gapless_constant_acquire(pool, 1, 1, nullptr, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gapless_constant_acquire(nullptr, 1, 1, nullptr, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  gapless_constant_pool_args args = GAPLESS_STRUCT(gapless_constant_pool_args);
  args.depth = 3;
  args.most = 2;
  gapless_constant_pool* other = nullptr;
  EXPECT_EQ(gapless_constant_pool_create(allocator, &args, &other), GAPLESS_ERROR_INVALID_ARGUMENT);
  args.device = 5;
  EXPECT_EQ(gapless_constant_pool_create(allocator, &args, &other), GAPLESS_ERROR_INVALID_ARGUMENT);
}

TEST_F(ConstantBuffers, ACaptureIsRefused) {
  make();
  void* const stream = make_stream();
  const gapless_lease lease = acquire(1, kMiB, stream);
  ASSERT_EQ(machine_->begin_capture(0, stream, driver::sim::CaptureMode::global), driver::Result::ok);
  EXPECT_EQ(try_acquire(1, kMiB, stream), GAPLESS_ERROR_IN_CAPTURE);
  EXPECT_EQ(gapless_constant_pass(pool, lease.ticket, stream), GAPLESS_ERROR_IN_CAPTURE);
  EXPECT_EQ(gapless_constant_release(pool, lease.ticket), GAPLESS_ERROR_IN_CAPTURE);
  driver::sim::Graph graph{};
  ASSERT_EQ(machine_->end_capture(0, stream, graph), driver::Result::ok);
  ASSERT_EQ(machine_->graph_destroy(graph), driver::Result::ok);
  release(lease);
}

// Waiting for the work on idle buffers breaks no capture, not even one that this thread began.
TEST_F(ConstantBuffers, TrimmingLeavesACaptureWhole) {
  make();
  void* const stream = make_stream();
  const gapless_lease lease = acquire(1, 3 * kMiB);
  touch(lease, nullptr, true);
  release(lease);
  ASSERT_EQ(machine_->begin_capture(0, stream, driver::sim::CaptureMode::global), driver::Result::ok);
  std::size_t released = 0;
  EXPECT_EQ(gapless_constant_trim(pool, &released), GAPLESS_OK) << gapless_last_error();
  EXPECT_EQ(released, 3 * kMiB);
  driver::sim::Graph graph{};
  EXPECT_EQ(machine_->end_capture(0, stream, graph), driver::Result::ok) << "the capture was invalidated";
  EXPECT_EQ(machine_->graph_destroy(graph), driver::Result::ok);
}

TEST_F(ConstantBuffers, AnInjectedFailureIsNotServedByIdleBuffers) {
  make(1);
  const gapless_lease lease = acquire(1, 4 * kMiB);
  release(lease);
  ASSERT_EQ(gapless_set_option(allocator, "inject_oom", "2"), GAPLESS_OK);
  void* none = nullptr;
  EXPECT_EQ(try_allocate(kMiB, none), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(pool_stats().bytes, 4 * kMiB) << "nor are they given up for it";
  ASSERT_EQ(gapless_set_option(allocator, "inject_oom", "off"), GAPLESS_OK);
}

// An idle batch is no reason to fail: its buffer goes back before the hooks of the program are asked.
TEST_F(ConstantBuffers, IdleBuffersAreGivenBackBeforeAnOutOfMemory) {
  make(1, 2);
  int asked = 0;
  const auto hook = [](void* user, const gapless_oom_record*) {
    ++*static_cast<int*>(user);
    return GAPLESS_OOM_GIVE_UP;
  };
  ASSERT_EQ(gapless_add_oom_hook(allocator, hook, &asked), GAPLESS_OK);
  const gapless_lease held = acquire(1, 100 * kMiB);
  const gapless_lease idle = acquire(1, 500 * kMiB);
  touch(idle, nullptr, true);
  release(idle);
  void* const block = allocate(800 * kMiB);
  EXPECT_EQ(asked, 0);
  EXPECT_EQ(pool_stats().bytes, 100 * kMiB) << "a leased buffer stays";
  free(block);
  void* none = nullptr;
  EXPECT_EQ(try_allocate(950 * kMiB, none), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(pool_stats().bytes, 100 * kMiB);
  release(held);
  free(allocate(950 * kMiB));
  EXPECT_EQ(pool_stats().bytes, 0u);
  ASSERT_EQ(gapless_remove_oom_hook(allocator, hook, &asked), GAPLESS_OK);
}

TEST_F(ConstantBuffers, APerThreadStreamBelongsToItsThread) {
  make();
  void* const per_thread = reinterpret_cast<void*>(2);
  const gapless_lease lease = acquire(1, kMiB, per_thread);
  std::thread([&] { EXPECT_EQ(gapless_constant_release(pool, lease.ticket), GAPLESS_ERROR_INVALID_ARGUMENT); }).join();
  release(lease);
}

// Every driver call fails once: the lease is had or not, never half.
TEST_F(ConstantBuffers, AFailedCallChangesNothing) {
  make();
  void* const streams[] = {make_stream(), make_stream()};
  for (std::uint64_t nth = 0;; ++nth) {
    faults_->clear();
    driver::FaultDriver::Rule rule;
    rule.skip = nth;
    rule.fail = 1;
    rule.error = driver::Result::unknown;
    faults_->add(rule);
    const gapless_constant_stats before = pool_stats();
    gapless_lease lease = GAPLESS_STRUCT(gapless_lease);
    const bool had = gapless_constant_acquire(pool, nth, 3 * kMiB, streams[0], &lease) == GAPLESS_OK;
    EXPECT_EQ(pool_stats().leased, before.leased + (had ? 1 : 0));
    bool whole = had;
    if (had) {
      touch(lease, streams[0], true);
      const bool passed = gapless_constant_pass(pool, lease.ticket, streams[1]) == GAPLESS_OK;
      touch(lease, streams[passed ? 1 : 0], true);
      const bool released = gapless_constant_release(pool, lease.ticket) == GAPLESS_OK;
      whole = passed && released;
      faults_->clear();
      if (!released) release(lease);
    }
    faults_->clear();
    EXPECT_EQ(pool_stats().leased, 0u);
    const gapless_lease again = acquire(nth, 3 * kMiB, streams[0]);
    touch(again, streams[0], true);
    release(again);
    if (whole && nth > 30) break;
  }
}

TEST_F(ConstantBuffers, TheLegacyStreamWaitsForABlockingStreamsCapture) {
  make();
  driver::Stream stream = nullptr;
  ASSERT_EQ(machine_->stream_create(0, {.non_blocking = false}, stream), driver::Result::ok);
  const gapless_lease lease = acquire(1, 3 * kMiB);
  ASSERT_EQ(machine_->begin_capture(0, stream, driver::sim::CaptureMode::relaxed), driver::Result::ok);
  EXPECT_EQ(gapless_constant_release(pool, lease.ticket), GAPLESS_ERROR_IN_CAPTURE);
  EXPECT_EQ(try_acquire(2, 3 * kMiB), GAPLESS_ERROR_IN_CAPTURE);
  driver::sim::Graph graph = nullptr;
  EXPECT_EQ(machine_->end_capture(0, stream, graph), driver::Result::ok) << "the capture was invalidated";
  release(lease);
}

TEST_F(ConstantBuffers, ARefusedRequestLeavesTheTurn) {
  make(2);
  const gapless_lease first = acquire(1, 3 * kMiB);
  release(first);
  EXPECT_EQ(try_acquire(1, 2 * kGiB), GAPLESS_ERROR_OUT_OF_MEMORY);
  release(acquire(1, 3 * kMiB));
  const gapless_lease third = acquire(1, 3 * kMiB);
  EXPECT_EQ(third.address, first.address);
  release(third);
}

TEST_F(ConstantBuffers, ThreadsShareAPool) {
  make(2, 8, {});
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 300; ++i) {
        gapless_lease lease = GAPLESS_STRUCT(gapless_lease);
        const std::size_t bytes = (1 + random() % 3) * kMiB;
        ASSERT_EQ(gapless_constant_acquire(pool, random() % 3, bytes, nullptr, &lease), GAPLESS_OK)
            << gapless_last_error();
        if (random() % 4 == 0) {
          ASSERT_EQ(gapless_constant_trim(pool, nullptr), GAPLESS_OK);
        }
        ASSERT_EQ(gapless_constant_release(pool, lease.ticket), GAPLESS_OK);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(pool_stats().leased, 0u);
  EXPECT_EQ(pool_stats().acquired, 1200u);
}

}  // namespace
}  // namespace gapless::engine

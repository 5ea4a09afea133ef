// SPDX-License-Identifier: Apache-2.0
// An allocator over a simulated device, with every decorator that a test may want.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/units.hpp"
#include "capi/handle.hpp"
#include "config/options.hpp"
#include "driver/fault_driver.hpp"
#include "driver/latency_driver.hpp"
#include "driver/sim/sim_driver.hpp"

namespace gapless::stream {

struct StreamTestAccess {
  static void set_epoch(StreamState& stream, std::uint32_t epoch) { stream.epoch_ = epoch; }
};

}  // namespace gapless::stream

namespace gapless::engine {

// The allocator owns its driver; the test looks at the same chain.
class Chain final : public driver::ForwardingDriver {
 public:
  using ForwardingDriver::ForwardingDriver;
  static inline thread_local int calls_under_way = 0;

 private:
  driver::Result before(driver::Call) override {
    calls_under_way++;
    return driver::Result::ok;
  }
  void after(driver::Call, driver::Result) override { calls_under_way--; }
};

class EngineTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kGranule = 2 * kMiB;

  void open(std::uint64_t device_bytes = 80 * kGiB, config::Options options = {}, driver::sim::Config machine = {}) {
    machine.size = device_bytes;
    machine.strict = true;
    machine.reserve_host_va = false;
    machine_ = std::make_unique<driver::sim::Machine>(machine);
    sim_ = driver::sim::make_sim_driver(*machine_);
    latency_ = std::make_unique<driver::LatencyDriver>(*sim_);
    faults_ = std::make_unique<driver::FaultDriver>(*latency_);
    ASSERT_EQ(capi::open_with_driver(std::make_unique<Chain>(*faults_), options, &allocator), GAPLESS_OK);
  }
  void TearDown() override {
    if (allocator == nullptr) return;
    faults_->clear();
    ASSERT_EQ(gapless_close(allocator), GAPLESS_OK) << gapless_last_error();
    EXPECT_EQ(machine_->physical_bytes(0), 0u);
    EXPECT_EQ(machine_->violation_count(), 0u) << machine_->violations().front().text;
  }

  void* allocate(std::uint64_t bytes, void* stream = nullptr) {
    void* out = nullptr;
    EXPECT_EQ(gapless_allocate(allocator, 0, stream, bytes, &out), GAPLESS_OK) << gapless_last_error();
    return out;
  }
  gapless_status try_allocate(std::uint64_t bytes, void*& out, void* stream = nullptr) {
    out = nullptr;
    return gapless_allocate(allocator, 0, stream, bytes, &out);
  }
  void free(void* pointer) { EXPECT_EQ(gapless_deallocate(allocator, pointer), GAPLESS_OK) << gapless_last_error(); }
  gapless_stats stats() {
    gapless_stats out = GAPLESS_STRUCT(gapless_stats);
    EXPECT_EQ(gapless_get_stats(allocator, 0, &out), GAPLESS_OK);
    return out;
  }
  std::uint64_t reserved() { return static_cast<std::uint64_t>(stats().reserved_bytes[GAPLESS_ALL].current); }
  void* make_stream() {
    driver::Stream stream = nullptr;
    EXPECT_EQ(machine_->stream_create(0, {.non_blocking = true}, stream), driver::Result::ok);
    return stream;
  }
  // What grows with the number of streams and pools: host memory is bounded where these are.
  std::size_t host_records() {
    std::size_t count = 0;
    allocator->engine->for_each_device([&](DeviceAllocator& one) {
      DeviceState& state = one.state();
      count += state.heaps.size() + state.homes.size() + state.streams.size() + state.uses.size() +
               state.blocks.records() + state.ledger.handle_limit() + one.pools().all().size();
    });
    return count;
  }
  void validate() {
    allocator->engine->for_each_device([](DeviceAllocator& one) { one.validate(); });
    EXPECT_EQ(reserved(), machine_->physical_bytes(0));
  }

  std::unique_ptr<driver::sim::Machine> machine_;
  std::unique_ptr<driver::DriverOps> sim_;
  std::unique_ptr<driver::LatencyDriver> latency_;
  std::unique_ptr<driver::FaultDriver> faults_;
  gapless_allocator* allocator = nullptr;
};

}  // namespace gapless::engine

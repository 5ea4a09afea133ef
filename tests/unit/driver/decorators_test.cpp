// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <thread>

#include "driver/checked_driver.hpp"
#include "driver/fault_driver.hpp"
#include "driver/latency_driver.hpp"
#include "driver/sim/machine.hpp"
#include "driver/sim/sim_driver.hpp"
#include "driver/sim/types.hpp"
#include "driver/trace_driver.hpp"

namespace gapless::driver {
namespace {

using sim::kGranule;

class Decorators : public testing::Test {
 protected:
  sim::Machine machine_{sim::Config{}};
  std::unique_ptr<DriverOps> sim_ = sim::make_sim_driver(machine_);
};

// Maps two granules; on a failure takes back what it did.
Result map_two(DriverOps& driver) {
  Address base = 0;
  if (const Result result = driver.address_reserve(2 * kGranule, 0, base); result != Result::ok) return result;
  std::size_t mapped = 0;
  Result result = Result::ok;
  for (; mapped < 2 && result == Result::ok; ++mapped) {
    Handle handle = 0;
    result = driver.create(0, kGranule, {}, handle);
    if (result != Result::ok) break;
    result = driver.map(base + mapped * kGranule, kGranule, handle);
    (void)driver.release(handle);
    if (result != Result::ok) break;
  }
  const int zero = 0;
  if (result == Result::ok) result = driver.set_access(base, 2 * kGranule, {&zero, 1});
  if (mapped != 0 && result != Result::ok) (void)driver.unmap(base, mapped * kGranule);
  if (result != Result::ok) (void)driver.address_free(base, 2 * kGranule);
  return result;
}

TEST_F(Decorators, FaultFailsTheNthCallForEveryN) {
  bool succeeded = false;
  std::uint64_t n = 0;
  for (; !succeeded; ++n) {
    sim::Machine machine{sim::Config{}};
    const auto device = sim::make_sim_driver(machine);
    CheckedDriver checked(*device, kGranule, 1);
    FaultDriver fault(checked);
    FaultDriver::Rule rule;
    rule.skip = n;
    fault.add(rule);
    const Result result = map_two(fault);
    succeeded = fault.injected() == 0;
    EXPECT_EQ(checked.report_count(), 0u);
    if (result == Result::ok) {
      EXPECT_EQ(machine.physical_bytes(0), 2 * kGranule);
    } else {
      EXPECT_EQ(result, Result::out_of_memory);
      EXPECT_EQ(checked.live(), CheckedDriver::Live{}) << "call " << n;
      EXPECT_EQ(machine.physical_bytes(0), 0u);
    }
  }
  EXPECT_EQ(n, 9u) << "reserve, 2 x (create, map, release), set_access, and the run without a fault";
}

TEST_F(Decorators, FaultByKindAndForGood) {
  FaultDriver fault(*sim_);
  FaultDriver::Rule rule;
  rule.call = Call::create;
  rule.skip = 1;
  rule.fail = UINT64_MAX;
  rule.error = Result::not_supported;
  fault.add(rule);
  Handle handle = 0;
  Address base = 0;
  EXPECT_EQ(fault.create(0, kGranule, {}, handle), Result::ok);
  EXPECT_EQ(fault.create(0, kGranule, {}, handle), Result::not_supported);
  EXPECT_EQ(fault.address_reserve(kGranule, 0, base), Result::ok);
  EXPECT_EQ(fault.create(0, kGranule, {}, handle), Result::not_supported);
  EXPECT_EQ(fault.injected(), 2u);
  fault.clear();
  EXPECT_EQ(fault.create(0, kGranule, {}, handle), Result::ok);
  EXPECT_EQ(fault.calls(Call::create), 4u);
  EXPECT_EQ(fault.memory_calls(), 5u);
}

TEST_F(Decorators, FaultCanLeaveABatchHalfDone) {
  FaultDriver fault(*sim_);
  Address base = 0;
  ASSERT_EQ(fault.address_reserve(2 * kGranule, 0, base), Result::ok);
  for (std::size_t i = 0; i < 2; ++i) {
    Handle handle = 0;
    ASSERT_EQ(fault.create(0, kGranule, {}, handle), Result::ok);
    ASSERT_EQ(fault.map(base + i * kGranule, kGranule, handle), Result::ok);
    ASSERT_EQ(fault.release(handle), Result::ok);
  }
  FaultDriver::Rule rule;
  rule.call = Call::unmap;
  rule.error = Result::unknown;
  rule.partial_bytes = kGranule;
  fault.add(rule);
  EXPECT_EQ(fault.unmap(base, 2 * kGranule), Result::unknown);
  EXPECT_EQ(machine_.physical_bytes(0), kGranule) << "the first mapping is gone, the second is not";
  EXPECT_EQ(fault.unmap(base, kGranule), Result::invalid_value) << "so the caller is told";
  EXPECT_EQ(machine_.violation_count(), 0u) << "who could not know";
  EXPECT_EQ(fault.unmap(base + kGranule, kGranule), Result::ok);
  EXPECT_EQ(machine_.physical_bytes(0), 0u);
  EXPECT_EQ(fault.unmap(base, kGranule), Result::invalid_value);
  EXPECT_EQ(machine_.violation_count(), 1u) << "who was told";
}

TEST_F(Decorators, TraceCountsAndLogs) {
  TraceDriver trace(*sim_, true);
  ASSERT_EQ(map_two(trace), Result::ok);
  MemoryInfo info;
  ASSERT_EQ(trace.memory_info(0, info), Result::ok);
  EXPECT_EQ(trace.calls(Call::create), 2u);
  EXPECT_EQ(trace.calls(Call::memory_info), 1u);
  EXPECT_EQ(trace.memory_calls(), 8u) << "asking for free bytes is no driver call";
  const std::vector<TraceDriver::Entry> log = trace.log();
  ASSERT_EQ(log.size(), 8u);
  EXPECT_EQ(log[0].call, Call::address_reserve);
  EXPECT_EQ(log[1].call, Call::create);
  EXPECT_EQ(log[7].call, Call::set_access);
  EXPECT_EQ(log[7].address, log[0].address);
  EXPECT_EQ(TraceDriver::text(log[0]).substr(0, 21), "cuMemAddressReserve 0");
  EXPECT_EQ(machine_.calls("cuMemMap"), 2u);
  trace.reset();
  EXPECT_EQ(trace.memory_calls(), 0u);
  EXPECT_TRUE(trace.log().empty());
}

TEST_F(Decorators, TheSameCallsGiveTheSameLog) {
  const auto run = [] {
    sim::Machine machine{sim::Config{}};
    const auto device = sim::make_sim_driver(machine);
    TraceDriver trace(*device, true);
    for (int i = 0; i < 50; ++i) (void)map_two(trace);
    return trace.log();
  };
  EXPECT_EQ(run(), run());
}

TEST_F(Decorators, LatencyHoldsAThreadInsideACall) {
  LatencyDriver gate(*sim_);
  gate.close(Call::create, 1);
  Handle handle = 0;
  ASSERT_EQ(gate.create(0, kGranule, {}, handle), Result::ok) << "the first goes through";
  Handle late = 0;
  std::thread held([&] { EXPECT_EQ(gate.create(0, kGranule, {}, late), Result::ok); });
  gate.wait_until_held();
  EXPECT_EQ(machine_.physical_bytes(0), kGranule) << "it stopped before the driver";
  MemoryInfo info;
  EXPECT_EQ(gate.memory_info(0, info), Result::ok) << "others pass";
  gate.open();
  held.join();
  EXPECT_NE(late, 0u);
  EXPECT_EQ(machine_.physical_bytes(0), 2 * kGranule);
}

TEST_F(Decorators, CheckedAcceptsManyThreads) {
  CheckedDriver checked(*sim_, kGranule, 1);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        Address base = 0;
        Handle handle = 0;
        ASSERT_EQ(checked.address_reserve(kGranule, 0, base), Result::ok);
        ASSERT_EQ(checked.create(0, kGranule, {}, handle), Result::ok);
        ASSERT_EQ(checked.map(base, kGranule, handle), Result::ok);
        ASSERT_EQ(checked.unmap(base, kGranule), Result::ok);
        ASSERT_EQ(checked.release(handle), Result::ok);
        ASSERT_EQ(checked.address_free(base, kGranule), Result::ok);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(checked.report_count(), 0u);
  EXPECT_EQ(checked.live(), CheckedDriver::Live{});
  EXPECT_EQ(machine_.violation_count(), 0u);
}

TEST_F(Decorators, NamesOfResults) {
  EXPECT_STREQ(sim_->result_name(Result::out_of_memory), "CUDA_ERROR_OUT_OF_MEMORY");
  EXPECT_STREQ(sim_->result_name(static_cast<Result>(12345)), "CUDA_ERROR_UNKNOWN");
  for (int i = 0; i < kCalls; ++i) EXPECT_EQ(std::string(call_name(static_cast<Call>(i))).substr(0, 2), "cu");
}

}  // namespace
}  // namespace gapless::driver

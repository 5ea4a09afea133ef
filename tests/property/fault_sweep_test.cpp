// SPDX-License-Identifier: Apache-2.0
// Every failure point of one program in turn: fail driver call 0, 1, 2, ... until none is left to fail.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "support/program.hpp"
#include "support/session.hpp"

namespace gapless::testing {
namespace {

// Several streams on a device that is a little too small, so that every rung of the miss ladder is climbed.
std::vector<tools::Op> busy_program(std::uint64_t device_bytes) {
  std::mt19937 random(20261121);
  std::vector<std::uint32_t> words(220);
  for (std::uint32_t& word : words) word = static_cast<std::uint32_t>(random());
  return decode_program(words, {.streams = 3, .device_bytes = device_bytes, .limits = true});
}

void sweep(driver::FaultDriver::Rule rule, std::uint64_t least_points) {
  Scenario scenario;
  scenario.device.size = std::uint64_t{96} << 20;
  scenario.device.completion = driver::sim::Completion::random;
  scenario.device.strict = true;
  scenario.device.reserve_host_va = false;
  scenario.validate_every = 0;
  const auto ops = busy_program(scenario.device.size);
  std::uint64_t points = 0;
  for (;; ++points) {
    rule.skip = points;
    scenario.faults = {rule};
    const Outcome outcome = run_program(scenario, ops);
    ASSERT_FALSE(outcome.problem) << "call " << points << " failed: " << *outcome.problem << '\n' << to_text(ops);
    if (outcome.injected == 0) break;
  }
  EXPECT_GE(points, least_points) << "the program has become too tame";
}

driver::FaultDriver::Rule memory_calls(driver::Result error) {
  driver::FaultDriver::Rule rule;
  rule.memory_only = true;
  rule.error = error;
  return rule;
}

TEST(FaultSweep, OutOfMemoryAtEachMemoryCall) {
  sweep(memory_calls(driver::Result::out_of_memory), 200);
}

TEST(FaultSweep, UnknownErrorAtEachMemoryCall) {
  sweep(memory_calls(driver::Result::unknown), 200);
}

TEST(FaultSweep, UnknownErrorAtEachCall) {
  driver::FaultDriver::Rule rule;
  rule.error = driver::Result::unknown;
  sweep(rule, 400);
}

// Access was granted to the first granule of a range, and then the driver failed.
TEST(FaultSweep, AccessGrantedInPart) {
  driver::FaultDriver::Rule rule;
  rule.call = driver::Call::set_access;
  rule.error = driver::Result::unknown;
  rule.partial_bytes = std::size_t{2} << 20;
  sweep(rule, 8);
}

}  // namespace
}  // namespace gapless::testing

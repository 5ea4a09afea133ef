// SPDX-License-Identifier: Apache-2.0
// Programs that once broke gapless, as small as they could be made.
#include <gtest/gtest.h>

#include "support/program.hpp"
#include "support/session.hpp"

namespace gapless::testing {
namespace {

Scenario strict_device(std::uint64_t mebibytes) {
  Scenario scenario;
  scenario.device.size = mebibytes << 20;
  scenario.device.completion = driver::sim::Completion::lag;
  scenario.device.lag = 7;
  scenario.device.strict = true;
  scenario.device.reserve_host_va = false;
  scenario.validate_every = 1;
  return scenario;
}

void expect_no_problem(const Scenario& scenario, const char* text) {
  const Outcome outcome = run_program(scenario, from_text(text));
  EXPECT_FALSE(outcome.problem) << *outcome.problem;
}

// A block is lent whose slot was given back to its heap by another stream: the lender's stamp did not know of that use.
TEST(FoundPrograms, LendingAfterReactivation) {
  expect_no_problem(strict_device(64), R"(
    a 0 327681 3 +3
    f 0
    a 0 1048576 1 +3
    f 0
    a 0 8192 3
    a 1 1 0
    f 0
    f 1)");
}

TEST(FoundPrograms, TextReadsBack) {
  const std::vector<std::uint32_t> words = {0, 0x12345678, 47, 12, 13, 14, 7, 15 | (1 << 7), 0xfffffff0};
  const auto ops = decode_program(words, {});
  EXPECT_EQ(from_text(to_text(ops)), ops);
}

}  // namespace
}  // namespace gapless::testing

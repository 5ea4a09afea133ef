// SPDX-License-Identifier: Apache-2.0
// Random programs through the C ABI on the strict simulated device, in every configuration that changes the engine's
// ways.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "support/program.hpp"
#include "support/session.hpp"

namespace gapless::testing {
namespace {

using driver::sim::Completion;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

Scenario strict_device(std::uint64_t bytes, Completion completion) {
  Scenario scenario;
  scenario.device.size = bytes;
  scenario.device.completion = completion;
  scenario.device.lag = 7;
  scenario.device.strict = true;
  scenario.device.reserve_host_va = false;
  return scenario;
}

void expect_no_problem(const Scenario& scenario, const std::vector<std::uint32_t>& words, std::uint32_t streams,
                       bool limits) {
  const auto ops = decode_program(words, {.streams = streams, .device_bytes = scenario.device.size, .limits = limits});
  const Outcome outcome = run_program(scenario, ops);
  if (outcome.problem) RC_FAIL(*outcome.problem + "\n" + to_text(ops));
  RC_CLASSIFY(outcome.ooms > 0, "out of memory");
  RC_CLASSIFY(outcome.injected > 0, "faults");
}

auto programs() {
  return rc::gen::scale(3.0, rc::gen::container<std::vector<std::uint32_t>>(rc::gen::arbitrary<std::uint32_t>()));
}

struct Way {
  const char* name;
  const char* options;
  Completion completion;
  std::uint32_t streams;
  std::uint64_t device_bytes;
  bool create_ahead = false;
};

// GoogleTest would print the bytes, addresses among them, and a test's name would change from run to run.
void PrintTo(const Way& way, std::ostream* out) {
  *out << way.name;
}

class Programs : public ::testing::TestWithParam<Way> {};

TEST_P(Programs, HoldTheModel) {
  const Way& way = GetParam();
  EXPECT_TRUE(rc::check(way.name, [&] {
    Scenario scenario = strict_device(way.device_bytes, way.completion);
    scenario.options = way.options;
    scenario.create_ahead = way.create_ahead;
    scenario.device.seed = *rc::gen::inRange<std::uint64_t>(1, 1000);
    expect_no_problem(scenario, *programs(), way.streams, true);
  }));
}

// Any driver call may fail, once or again and again, with an out of memory or with another error.
TEST_P(Programs, SurviveDriverFailures) {
  const Way& way = GetParam();
  EXPECT_TRUE(rc::check(way.name, [&] {
    Scenario scenario = strict_device(way.device_bytes, way.completion);
    scenario.options = way.options;
    scenario.create_ahead = way.create_ahead;
    const auto rules = *rc::gen::inRange<int>(1, 4);
    for (int i = 0; i < rules; ++i) {
      driver::FaultDriver::Rule rule;
      rule.memory_only = *rc::gen::arbitrary<bool>();
      rule.skip = *rc::gen::inRange<std::uint64_t>(0, 200);
      rule.fail = *rc::gen::inRange<std::uint64_t>(1, 4);
      rule.error =
          *rc::gen::element(driver::Result::out_of_memory, driver::Result::unknown, driver::Result::not_supported);
      scenario.faults.push_back(rule);
    }
    expect_no_problem(scenario, *programs(), way.streams, true);
  }));
}

INSTANTIATE_TEST_SUITE_P(
    Ways, Programs,
    ::testing::Values(Way{"one_stream", "", Completion::eager, 1, 128 * kMiB},
                      Way{"streams_lazy", "", Completion::lazy, 4, 128 * kMiB},
                      Way{"streams_lag", "", Completion::lag, 4, 64 * kMiB},
                      Way{"streams_random", "", Completion::random, 3, 128 * kMiB},
                      Way{"ample", "", Completion::random, 4, 4096 * kMiB},
                      Way{"eager_unmap", "eager_unmap:on", Completion::random, 3, 128 * kMiB},
                      Way{"no_lending", "lending:false", Completion::random, 4, 128 * kMiB},
                      Way{"sharing_lazy", "stream_sharing:on", Completion::lazy, 4, 128 * kMiB},
                      Way{"sharing_random", "stream_sharing:on", Completion::random, 4, 64 * kMiB},
                      Way{"sharing_eager_unmap", "stream_sharing:on,eager_unmap:on", Completion::lag, 3, 128 * kMiB},
                      Way{"create_ahead", "slack:1.5", Completion::random, 3, 128 * kMiB, true},
                      Way{"granule_4MiB", "granule:4MiB", Completion::random, 3, 128 * kMiB},
                      Way{"slack", "slack:1.5", Completion::lag, 3, 128 * kMiB},
                      Way{"rounding", "roundup_power2_divisions:4", Completion::random, 3, 128 * kMiB}),
    [](const auto& way) { return std::string(way.param.name); });

}  // namespace
}  // namespace gapless::testing

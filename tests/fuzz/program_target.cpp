// SPDX-License-Identifier: Apache-2.0
// Programs of allocations on the strict simulated device. Input: eight bytes of circumstances, then four bytes an
// operation (support/program.hpp); the same programs as the property tests run.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "fuzz/require.hpp"
#include "support/program.hpp"
#include "support/session.hpp"

namespace {

using namespace gapless;

constexpr const char* kOptions[] = {"",           "eager_unmap:on", "lending:false",
                                    "slack:1.25", "granule:4MiB",   "roundup_power2_divisions:8"};
constexpr std::size_t kHead = 8;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < kHead + 4) return 0;
  testing::Scenario scenario;
  scenario.device.size = (std::uint64_t{16} + data[0] % 112) << 20;
  scenario.device.completion = static_cast<driver::sim::Completion>(data[1] % 4);  // eager, lazy, random, lag
  scenario.device.lag = data[2] % 16;
  scenario.device.seed = data[2];
  scenario.device.strict = true;
  scenario.device.reserve_host_va = false;
  scenario.options = kOptions[data[3] % std::size(kOptions)];
  if (data[4] != 0) {
    driver::FaultDriver::Rule rule;
    rule.memory_only = data[5] % 2 == 0;
    rule.skip = data[4];
    rule.fail = 1u + data[6] % 3;
    rule.error = data[7] % 2 == 0 ? driver::Result::out_of_memory : driver::Result::unknown;
    scenario.faults = {rule};
  }

  std::vector<std::uint32_t> words((size - kHead) / 4);
  std::memcpy(words.data(), data + kHead, words.size() * 4);
  const auto ops = testing::decode_program(words, {.streams = 4, .device_bytes = scenario.device.size, .limits = true});
  const testing::Outcome outcome = testing::run_program(scenario, ops);
  if (outcome.problem) std::fprintf(stderr, "%s\n%s", outcome.problem->c_str(), testing::to_text(ops).c_str());
  FUZZ_REQUIRE(!outcome.problem);
  return 0;
}

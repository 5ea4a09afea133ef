// SPDX-License-Identifier: Apache-2.0
// Long programs: what only shows after a hundred thousand operations (leaks of records, stamps that wrap, tables that
// grow). GAPLESS_TEST_FULL: 20 seeds of 1,000,000 operations, 50,000 under a sanitizer.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <random>
#include <vector>

#include "support/program.hpp"
#include "support/session.hpp"

namespace gapless::testing {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kFullLength = 50'000;
#else
constexpr std::size_t kFullLength = 1'000'000;
#endif

// Waves: blocks pile up, then most of them go, as in the steps of a training loop.
std::vector<std::uint32_t> waves(std::uint64_t seed, std::size_t length) {
  constexpr std::size_t kWave = 400;
  constexpr std::uint32_t kFree = 7;  // the kind of a word's low four bits, as decode_program reads it
  std::mt19937_64 random(seed);
  std::vector<std::uint32_t> words(length);
  for (std::size_t i = 0; i < length; ++i) {
    words[i] = static_cast<std::uint32_t>(random());
    const bool falling = i / kWave % 2 == 1;
    if (falling && (words[i] & 15) < 4) words[i] = (words[i] & ~15u) | kFree;
  }
  return words;
}

void soak(std::uint64_t seed, std::size_t length) {
  Scenario scenario;
  scenario.device.size = std::uint64_t{192} << 20;
  scenario.device.completion = driver::sim::Completion::random;
  scenario.device.seed = seed;
  scenario.device.strict = true;
  scenario.device.reserve_host_va = false;
  scenario.validate_every = 5'000;
  const auto ops =
      decode_program(waves(seed, length), {.streams = 4, .device_bytes = scenario.device.size, .limits = true});
  const Outcome outcome = run_program(scenario, ops);
  EXPECT_FALSE(outcome.problem) << "seed " << seed << ": " << *outcome.problem;
  EXPECT_GT(outcome.ooms, 0u);
  EXPECT_GT(outcome.allocations, length / 5);
}

TEST(Soak, TwoSeeds) {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) soak(seed, 20'000);
}

TEST(Soak, TwentySeedsInFull) {
  if (std::getenv("GAPLESS_TEST_FULL") == nullptr) GTEST_SKIP() << "left to tests/run --full";
  for (std::uint64_t seed = 1; seed <= 20; ++seed) soak(seed, kFullLength);
}

}  // namespace
}  // namespace gapless::testing

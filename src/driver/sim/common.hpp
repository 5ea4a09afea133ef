// SPDX-License-Identifier: Apache-2.0
// What every part of the machine shares.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include "driver/sim/call_counters.hpp"
#include "driver/sim/config.hpp"
#include "driver/sim/violations.hpp"

namespace gapless::driver::sim {

using Lock = std::unique_lock<std::mutex>;

struct Common {
  explicit Common(const Config& c) : config(c), violations(config) {}

  void violate(const char* rule, std::string text) { violations.add(rule, operations, std::move(text)); }

  Config config;
  Violations violations;
  CallCounters counters;
  std::uint64_t operations = 0;  // submitted so far: the machine's only notion of time
};

// printf into a string.
std::string text(const char* format, ...) __attribute__((format(printf, 1, 2)));

inline unsigned long long ull(std::uint64_t n) {
  return n;
}

}  // namespace gapless::driver::sim

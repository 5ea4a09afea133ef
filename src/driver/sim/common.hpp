// SPDX-License-Identifier: Apache-2.0
// What every part of the machine shares.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "driver/left_out.hpp"
#include "driver/sim/call_counters.hpp"
#include "driver/sim/config.hpp"
#include "driver/sim/violations.hpp"

namespace gapless::driver::sim {

using Lock = std::unique_lock<std::mutex>;

struct Common {
  explicit Common(const Config& c) : config(c), violations(config) {}

  // Every enforcement of a rule asks here. Records the violation and says whether the call is refused: always, except
  // where a test took this rule, or this one place of it, out of the referee (Config::without).
  bool violate(const char* rule, std::string text, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    if (!config.without.empty() && left_out(config.without, rule, file, line)) return false;
    violations.add(rule, operations, std::move(text));
    return true;
  }

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

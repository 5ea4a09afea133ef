// SPDX-License-Identifier: Apache-2.0
// What one replay gave, and its way from the process that ran it to the one that prints it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tools/replay/options.hpp"

namespace gapless::tools {

struct StepResult {
  std::uint64_t driver_calls = 0;
  double remap_us = 0;
  double create_us = 0;
};

// A point of the picture: the highest live and reserved bytes in a span of events.
struct Sample {
  std::uint64_t event = 0;
  std::uint64_t live_bytes = 0;
  std::uint64_t reserved_bytes = 0;
};

struct ReplayResult {
  std::string name;
  AllocatorKind allocator = AllocatorKind::gapless;
  std::uint64_t size = 0;
  std::uint64_t peak_live = 0;
  std::uint64_t peak_reserved = 0;
  bool completed = false;
  std::uint64_t ooms = 0;
  std::uint64_t retries = 0;
  std::uint64_t violations = 0;
  std::map<std::string, std::uint64_t> driver_calls;  // cudaMalloc*, cudaFree*, cuMem*
  std::map<std::string, std::uint64_t> event_calls;   // events and waits
  std::uint64_t driver_calls_steady = 0;
  std::vector<StepResult> steps;
  double first_us = 0;
  double remap_steady_us = 0;
  double create_steady_us = 0;
  std::uint64_t stalls = 0;
  double ns_per_pair = 0;  // 0: not measured
  double min_fit = 0;      // 0: not asked for, or the largest size of the grid does not fit
  std::string error;       // why it did not complete
  std::string picture;     // HTML fragment, when asked for

  double ratio() const {
    return peak_live == 0 ? 0 : static_cast<double>(peak_reserved) / static_cast<double>(peak_live);
  }
};

std::string serialize(const ReplayResult& result);
// Throws std::runtime_error when the bytes end early: the other process died.
ReplayResult deserialize(const std::string& bytes);

}  // namespace gapless::tools

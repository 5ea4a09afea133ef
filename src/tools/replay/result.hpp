// SPDX-License-Identifier: Apache-2.0
// What one replay gave, and its way from the process that ran it to the one that prints it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tools/replay/kept_addresses.hpp"
#include "tools/replay/options.hpp"

namespace gapless::tools {

struct StepResult {
  std::uint64_t driver_calls = 0;
  double remap_us = 0;
  double create_us = 0;
  KeptAddresses::Share large{};  // its allocations over 1 MiB
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
  bool with_creator = false;
  double creator_first_us = 0;  // a background creator's own time, in none of the others
  double remap_steady_us = 0;
  double create_steady_us = 0;
  std::uint64_t stalls = 0;
  double ns_per_pair = 0;  // 0: not measured
  double min_fit = 0;      // 0: not asked for, or the largest size of the grid does not fit
  std::string error;       // why it did not complete
  std::string picture;     // HTML fragment, when asked for

  // Of the large allocations in the second half of the steps, how many had the address of their counterpart. 0 of 0:
  // the trace has no steps, or none.
  KeptAddresses::Share kept_steady() const {
    KeptAddresses::Share sum;
    for (std::size_t i = steps.size() / 2; i < steps.size(); ++i) {
      sum.kept += steps[i].large.kept;
      sum.of += steps[i].large.of;
    }
    return sum;
  }
  double ratio() const {
    return peak_live == 0 ? 0 : static_cast<double>(peak_reserved) / static_cast<double>(peak_live);
  }
};

std::string serialize(const ReplayResult& result);
// Throws std::runtime_error when the bytes end early: the other process died.
ReplayResult deserialize(const std::string& bytes);

}  // namespace gapless::tools

// SPDX-License-Identifier: Apache-2.0
// What hit_vs_native runs: lists of operations that leave nothing live, so that they can run again and again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/op.hpp"

namespace gapless::bench {

struct Pattern {
  std::string name;
  std::vector<tools::Op> ops;
  std::uint32_t slots = 0;
  std::uint64_t pairs = 0;
  std::int32_t streams = 1;  // numbers below this
};

// One size, allocated and freed at once.
Pattern single(std::uint64_t bytes, std::uint64_t pairs);

// 1024 blocks of log-uniform sizes, replaced one after the other.
Pattern working_set(const std::string& name, std::uint64_t low, std::uint64_t high, std::uint64_t pairs);

// A trace; what lives at its end is freed. Throws tools::TraceError.
Pattern from_trace(const std::string& path);

}  // namespace gapless::bench

// SPDX-License-Identifier: Apache-2.0
#include "patterns.hpp"

#include <algorithm>
#include <cmath>
#include <random>

#include "tools/trace.hpp"

namespace gapless::bench {
namespace {

using tools::Op;
using tools::OpKind;

Op allocation(std::uint32_t id, std::uint64_t bytes) {
  return {OpKind::allocate, tools::kNoLabel, 0, id, 0, bytes};
}
Op release(std::uint32_t id) {
  return {OpKind::free, tools::kNoLabel, 0, id, 0, 0};
}

std::string size_name(std::uint64_t bytes) {
  if (bytes >= 1u << 20) return std::to_string(bytes >> 20) + " MiB";
  return bytes >= 1024 ? std::to_string(bytes >> 10) + " KiB" : std::to_string(bytes) + " B";
}

}  // namespace

Pattern single(std::uint64_t bytes, std::uint64_t pairs) {
  Pattern pattern{"hit, " + size_name(bytes), {}, 1, pairs};
  for (std::uint64_t i = 0; i < pairs; ++i) {
    pattern.ops.push_back(allocation(0, bytes));
    pattern.ops.push_back(release(0));
  }
  return pattern;
}

Pattern working_set(const std::string& name, std::uint64_t low, std::uint64_t high, std::uint64_t pairs) {
  constexpr std::uint32_t kBlocks = 1024;
  Pattern pattern{name, {}, kBlocks, pairs};
  std::mt19937_64 random(1);
  std::vector<std::uint64_t> sizes(kBlocks);
  for (auto& size : sizes) {
    // By hand: the standard distributions differ between libraries.
    const double unit = static_cast<double>(random() >> 11) * 0x1p-53;
    size = static_cast<std::uint64_t>(static_cast<double>(low) *
                                      std::pow(static_cast<double>(high) / static_cast<double>(low), unit));
  }
  for (std::uint32_t i = 0; i < kBlocks; ++i) pattern.ops.push_back(allocation(i, sizes[i]));
  std::uint32_t at = 0;
  for (std::uint64_t i = kBlocks; i < pairs; ++i) {
    at = (at + 389) % kBlocks;  // coprime to the count: an order unlike that of the first allocations
    pattern.ops.push_back(release(at));
    pattern.ops.push_back(allocation(at, sizes[at]));
  }
  for (std::uint32_t i = 0; i < kBlocks; ++i) pattern.ops.push_back(release(i));
  return pattern;
}

Pattern from_trace(const std::string& path) {
  const tools::Trace trace = tools::read_trace(path);
  Pattern pattern{trace.name, {}, trace.slots, 0};
  std::vector<bool> live(trace.slots, false);
  for (const Op& op : trace.ops) {
    const bool wanted = op.kind == OpKind::allocate || op.kind == OpKind::free || op.kind == OpKind::record_stream;
    if (!wanted) continue;
    if (op.kind != OpKind::record_stream) live[op.id] = op.kind == OpKind::allocate;
    pattern.ops.push_back(op);
    pattern.streams = std::max(pattern.streams, op.stream + 1);
  }
  for (std::uint32_t id = 0; id < trace.slots; ++id) {
    if (live[id]) pattern.ops.push_back(release(id));
  }
  pattern.pairs = trace.allocations;
  return pattern;
}

}  // namespace gapless::bench

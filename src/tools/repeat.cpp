// SPDX-License-Identifier: Apache-2.0
#include "tools/repeat.hpp"

#include <deque>
#include <map>
#include <unordered_map>
#include <utility>

namespace gapless::tools {
namespace {

using Kind = std::pair<std::uint64_t, std::int32_t>;  // rounded bytes and stream
using Slots = std::vector<std::uint32_t>;

// What the repeated part takes over and leaves behind, of blocks that do not stay throughout.
struct Borders {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> follows;  // slot that it frees, and the survivor in its place
  Slots free;                                                    // slots that nothing has at its end
};

Borders borders_of(const Trace& trace, std::size_t begin, std::size_t end) {
  struct Block {
    Kind kind;
    bool live = false;
    bool inside = false;  // made in the part
  };
  std::vector<Block> blocks(trace.slots);
  std::map<Kind, std::deque<std::uint32_t>> freed;
  for (std::size_t i = 0; i < end; ++i) {
    const Op& op = trace.ops[i];
    if (op.kind == OpKind::allocate) {
      blocks[op.id] = {{rounded_bytes(op.bytes), op.stream}, true, i >= begin};
    } else if (op.kind == OpKind::free) {
      Block& block = blocks[op.id];
      block.live = false;
      if (i >= begin && !block.inside) freed[block.kind].push_back(op.id);
    }
  }
  Borders borders;
  std::uint64_t missing = 0;
  for (std::uint32_t slot = 0; slot < trace.slots; ++slot) {
    const Block& block = blocks[slot];
    if (!block.live) borders.free.push_back(slot);
    if (!block.live || !block.inside) continue;
    auto& waiting = freed[block.kind];
    if (waiting.empty()) {
      // Requests of nothing are mostly never freed, and a slot each does no harm.
      missing += block.kind.first;
      continue;
    }
    borders.follows.emplace_back(waiting.front(), slot);
    waiting.pop_front();
  }
  for (const auto& [kind, slots] : freed) missing += slots.size() * kind.first;
  if (missing != 0) {
    throw TraceError(trace.name + ": its steps from the middle to the last cannot be repeated: " +
                     std::to_string(missing) + " bytes are made and not freed in it, or freed and not made");
  }
  return borders;
}

}  // namespace

void repeat_steps(Trace& trace, unsigned times) {
  const std::vector<Step> steps = steps_of(trace);
  if (steps.size() < 4) throw TraceError(trace.name + " has too few steps to repeat some");
  const std::size_t begin = steps[steps.size() / 2].begin;
  const std::size_t end = steps.back().begin;
  const Borders borders = borders_of(trace, begin, end);

  trace.ops.resize(end);
  std::unordered_map<std::uint32_t, std::uint32_t> now;  // a slot of the part, and what it is called this time
  for (const auto& [slot, survivor] : borders.follows) now[slot] = survivor;
  Slots free = borders.free;
  for (unsigned time = 0; time < times; ++time) {
    for (std::size_t i = begin; i < end; ++i) {
      Op op = trace.ops[i];
      if (op.kind == OpKind::allocate) {
        std::uint32_t fresh = trace.slots;
        if (free.empty()) {
          ++trace.slots;
        } else {
          fresh = free.back();
          free.pop_back();
        }
        now[op.id] = fresh;
        op.id = fresh;
      } else if (op.kind == OpKind::free || op.kind == OpKind::record_stream) {
        const auto named = now.find(op.id);
        const std::uint32_t part = op.id;
        if (named != now.end()) op.id = named->second;
        if (op.kind == OpKind::free) {
          free.push_back(op.id);
          now.erase(part);
        }
      }
      trace.ops.push_back(op);
    }
    std::unordered_map<std::uint32_t, std::uint32_t> next;
    for (const auto& [slot, survivor] : borders.follows) next[slot] = now.at(survivor);
    now = std::move(next);
  }
  truncate(trace, trace.ops.size());
}

}  // namespace gapless::tools

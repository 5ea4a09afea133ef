// SPDX-License-Identifier: Apache-2.0
#include "driver/sim/shadow.hpp"

#include <iterator>

#include "driver/sim/common.hpp"

namespace gapless::driver::sim {

std::string describe_use(const Use& use) {
  return text("%s (operation %llu, position %llu of stream %u, %s)", use.name, ull(use.operation), ull(use.position),
              use.stream, use.write ? "writes" : "reads");
}

// Makes `at` a border; the first cell that starts at or after it.
Shadow::Cells::iterator Shadow::split(std::uint64_t at) {
  const auto after = cells_.lower_bound(at);
  if (after == cells_.begin()) return after;
  const auto before = std::prev(after);
  if (before->second.end <= at) return after;
  Cell upper = before->second;
  before->second.end = at;
  return cells_.emplace_hint(after, at, std::move(upper));
}

Use Shadow::touch(std::uint64_t begin, std::uint64_t end, const Use& use, const Clock& clock) {
  Use conflict;
  const auto note = [&](const Use& earlier) {
    const bool own = earlier.stream == use.stream && earlier.position == use.position;
    if (conflict.position == 0 && earlier.position != 0 && !own && !ordered_before(earlier, clock)) conflict = earlier;
  };
  split(end);
  auto cell = split(begin);

  if (use.write) {
    while (cell != cells_.end() && cell->first < end) {
      note(cell->second.last_write);
      for (const Use& read : cell->second.reads) note(read);
      cell = cells_.erase(cell);
    }
    cells_.emplace_hint(cell, begin, Cell{end, use, {}});
    return conflict;
  }

  std::uint64_t at = begin;
  while (at < end) {
    if (cell == cells_.end() || cell->first > at) {
      const std::uint64_t stop = cell == cells_.end() || cell->first > end ? end : cell->first;
      cells_.emplace_hint(cell, at, Cell{stop, Use{}, {use}});
      at = stop;
      continue;
    }
    note(cell->second.last_write);
    bool found = false;
    for (Use& read : cell->second.reads) {
      if (read.stream != use.stream) continue;
      read = use;
      found = true;
    }
    if (!found) cell->second.reads.push_back(use);
    at = cell->second.end;
    ++cell;
  }
  return conflict;
}

}  // namespace gapless::driver::sim

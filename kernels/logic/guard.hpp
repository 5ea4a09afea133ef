// SPDX-License-Identifier: Apache-2.0
// Guards: the pattern, and one word of filling or checking it.
//
// A range is worked on in the aligned 8-byte words of its device addresses, so that a word is one store or one load;
// the words at its two ends may belong to it in part and go byte by byte.
#pragma once

#include <cstdint>

#include "gapless_kernels.h"
#include "logic/host_device.hpp"
#include "logic/mix.hpp"

namespace gapless::kernels {

// Of the aligned word at `address`. The seed is mixed apart, or seeds and addresses could stand in for one another.
GAPLESS_HD std::uint64_t guard_word(std::uint64_t address, std::uint64_t seed) {
  return mix((address >> 3) ^ mix(seed));
}

GAPLESS_HD std::uint8_t guard_byte(std::uint64_t address, std::uint64_t seed) {
  return static_cast<std::uint8_t>(guard_word(address & ~7ULL, seed) >> ((address & 7) * 8));
}

// Aligned words that the range touches.
GAPLESS_HD std::uint64_t guard_word_count(const gapless_guard_range& range) {
  if (range.bytes == 0) return 0;
  return ((range.address + range.bytes - 1) >> 3) - (range.address >> 3) + 1;
}

// The part of the range in its word `index`: addresses [begin, end).
struct GuardSpan {
  std::uint64_t word;
  std::uint64_t begin;
  std::uint64_t end;
};
GAPLESS_HD GuardSpan guard_span(const gapless_guard_range& range, std::uint64_t index) {
  GuardSpan span;
  span.word = (range.address & ~7ULL) + index * 8;
  span.begin = span.word > range.address ? span.word : range.address;
  const std::uint64_t range_end = range.address + range.bytes;
  span.end = span.word + 8 < range_end ? span.word + 8 : range_end;
  return span;
}

// `memory` is where the range's first byte is accessible: its address on the device, elsewhere under simulation.
GAPLESS_HD void guard_fill_word(const gapless_guard_range& range, unsigned char* memory, std::uint64_t index) {
  const GuardSpan span = guard_span(range, index);
  const std::uint64_t pattern = guard_word(span.word, range.seed);
  unsigned char* const at = memory + (span.begin - range.address);
  if (span.end - span.begin == 8) {
    *reinterpret_cast<std::uint64_t*>(at) = pattern;
    return;
  }
  for (std::uint64_t address = span.begin; address < span.end; ++address) {
    at[address - span.begin] = static_cast<unsigned char>(pattern >> ((address & 7) * 8));
  }
}

// Reports join by minimum and sum.
GAPLESS_HD gapless_guard_report guard_check_word(const gapless_guard_range& range, const unsigned char* memory,
                                                 std::uint64_t index) {
  gapless_guard_report report = {~0ULL, 0};
  const GuardSpan span = guard_span(range, index);
  const std::uint64_t pattern = guard_word(span.word, range.seed);
  const unsigned char* const at = memory + (span.begin - range.address);
  if (span.end - span.begin == 8 && *reinterpret_cast<const std::uint64_t*>(at) == pattern) return report;
  for (std::uint64_t address = span.begin; address < span.end; ++address) {
    if (at[address - span.begin] == static_cast<unsigned char>(pattern >> ((address & 7) * 8))) continue;
    if (report.broken_bytes++ == 0) report.first_broken = address;
  }
  return report;
}

}  // namespace gapless::kernels

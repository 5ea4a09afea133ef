// SPDX-License-Identifier: Apache-2.0
#include "guard/finding.hpp"

#include <cstdarg>
#include <cstdint>
#include <cstdio>

namespace gapless::guard {
namespace {

__attribute__((format(printf, 2, 3))) void add(std::string& text, const char* format, ...) {
  char line[256];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  text += line;
}

void add_life(std::string& text, const gapless_guard_life& life) {
  add(text, "%zu bytes at %p, stream %p, allocation %llu", life.requested_bytes, life.address, life.stream,
      static_cast<unsigned long long>(life.allocated));
  if (life.step_allocated != 0) add(text, " (step %llu)", static_cast<unsigned long long>(life.step_allocated));
  if (life.freed == 0) {
    text += ", live";
    return;
  }
  add(text, ", freed after allocation %llu", static_cast<unsigned long long>(life.freed));
  if (life.step_freed != 0) add(text, " (step %llu)", static_cast<unsigned long long>(life.step_freed));
}

}  // namespace

std::string text_of(const gapless_guard_finding& finding) {
  const auto first = reinterpret_cast<std::uint64_t>(finding.first_broken);
  const auto begin = reinterpret_cast<std::uint64_t>(finding.block.address);
  const std::uint64_t end = begin + finding.block.requested_bytes;
  std::string text = "gapless guard: ";
  if (finding.kind == GAPLESS_GUARD_FREED)
    add(text, "freed memory was written, %llu bytes into", static_cast<unsigned long long>(first - begin));
  else
    add(text, "written %llu bytes behind the end of", static_cast<unsigned long long>(first - end));
  add(text, " a block of device %d: first at %p (0x%02x instead of 0x%02x), %zu bytes in all", finding.device,
      finding.first_broken, finding.found, finding.expected, finding.broken_bytes);
  text += "\n  block:   ";
  add_life(text, finding.block);
  if (finding.next.allocated != 0) {
    text += "\n  behind:  ";
    add_life(text, finding.next);
  }
  for (std::uint32_t i = 0; i < finding.earlier_count; ++i) {
    text += "\n  earlier: ";
    add_life(text, finding.earlier[i]);
  }
  return text + "\n";
}

}  // namespace gapless::guard

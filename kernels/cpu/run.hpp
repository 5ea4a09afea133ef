// SPDX-License-Identifier: Apache-2.0
// Each kernel as a loop over its logic: the bodies of the simulated device, and what the tests compare with their
// references. Pointers are host pointers.
#pragma once

#include <cstdint>

#include "gapless_kernels.h"
#include "logic/checksum.hpp"
#include "logic/guard.hpp"
#include "logic/pad.hpp"

namespace gapless::kernels::cpu {

inline void run_pad_scan(const gapless_pad_batch& batch) {
  std::int64_t begin = 0;
  *batch.error = {-1, 0};
  for (std::int64_t row = 0; row < batch.count; ++row) {
    pad_write_offset(batch, row, begin);
    const std::int64_t end = begin + pad_scan_term(batch, row);
    if (batch.error->index < 0 && pad_row_is_wrong(batch, row, end)) *batch.error = {row, batch.lengths[row]};
    begin = end;
  }
  pad_write_offset(batch, batch.count, begin);
}

inline void run_pad_rows(const gapless_pad_batch& batch) {
  const bool failed = batch.error->index >= 0;
  for (std::int64_t row = 0; row < batch.count; ++row) {
    for (std::int64_t column = 0; column < batch.length; ++column) pad_cell(batch, row, column, failed);
  }
}

inline void run_guard_fill(const gapless_guard_range& range, unsigned char* memory) {
  const std::uint64_t words = guard_word_count(range);
  for (std::uint64_t word = 0; word < words; ++word) guard_fill_word(range, memory, word);
}

// Joins into `report`, as the device's atomics do.
inline void run_guard_check(const gapless_guard_range& range, const unsigned char* memory,
                            gapless_guard_report& report) {
  const std::uint64_t words = guard_word_count(range);
  for (std::uint64_t word = 0; word < words; ++word) {
    const gapless_guard_report seen = guard_check_word(range, memory, word);
    if (seen.first_broken < report.first_broken) report.first_broken = seen.first_broken;
    report.broken_bytes += seen.broken_bytes;
  }
}

inline std::uint64_t run_checksum(const unsigned char* memory, std::uint64_t bytes) {
  std::uint64_t sum = 0;
  const std::uint64_t words = checksum_word_count(bytes);
  for (std::uint64_t word = 0; word < words; ++word) sum += checksum_term(memory, bytes, word);
  return sum;
}

}  // namespace gapless::kernels::cpu

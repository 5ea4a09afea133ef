// SPDX-License-Identifier: Apache-2.0
// Padding: what one cell of the padded batch holds, and what is wrong with a sequence.
#pragma once

#include <cstdint>

#include "gapless_kernels.h"
#include "logic/host_device.hpp"

namespace gapless::kernels {

// cu_seqlens are 32-bit by the interface of the attention kernels that read them.
constexpr std::int64_t kMaxCumulative = 2147483647;

// Whether sequence `row`, which ends at `end` tokens from the start of the batch, cannot be padded.
GAPLESS_HD bool pad_row_is_wrong(const gapless_pad_batch& batch, std::int64_t row, std::int64_t end) {
  const std::int64_t length = batch.lengths[row];
  return length < 0 || length > batch.length || (batch.out_cu_seqlens != nullptr && end > kMaxCumulative);
}

// What the scan adds for a sequence: a negative length must not move the others.
GAPLESS_HD std::int64_t pad_scan_term(const gapless_pad_batch& batch, std::int64_t row) {
  return batch.lengths[row] < 0 ? 0 : batch.lengths[row];
}

// Where sequence `row` begins.
GAPLESS_HD void pad_write_offset(const gapless_pad_batch& batch, std::int64_t row, std::int64_t begin) {
  batch.offsets[row] = begin;
  if (batch.out_cu_seqlens != nullptr) {
    batch.out_cu_seqlens[row] = static_cast<std::int32_t>(begin > kMaxCumulative ? kMaxCumulative : begin);
  }
}

// Cell `column` of `row`. `failed`: the batch has a wrong sequence, so that offsets mean nothing and every cell is
// padding.
GAPLESS_HD void pad_cell(const gapless_pad_batch& batch, std::int64_t row, std::int64_t column, bool failed) {
  const std::int64_t length = failed ? 0 : batch.lengths[row];
  const std::int64_t position = batch.left != 0 ? column - (batch.length - length) : column;
  const bool is_token = position >= 0 && position < length;
  const std::int64_t cell = row * batch.length + column;
  const std::int64_t source = is_token ? batch.offsets[row] + position : 0;
  if (batch.out_tokens != nullptr) batch.out_tokens[cell] = is_token ? batch.tokens[source] : batch.pad_id;
  if (batch.out_mask != nullptr) batch.out_mask[cell] = is_token ? 1 : 0;
  if (batch.out_positions != nullptr) batch.out_positions[cell] = is_token ? position : 0;
  if (batch.out_labels != nullptr) {
    const std::int64_t* labels = batch.labels != nullptr ? batch.labels : batch.tokens;
    batch.out_labels[cell] = is_token ? labels[source] : batch.ignore_index;
  }
}

}  // namespace gapless::kernels

// SPDX-License-Identifier: Apache-2.0
// A ragged batch, padded into a buffer of a pool by the padding kernel.
#pragma once

#include <cstdint>

#include "constant/buffer_pool.hpp"
#include "gapless/gapless.h"

namespace gapless::constant {

// Where the parts of a batch lie in its buffer: bytes from its start, kNowhere for what was not asked for. The outputs
// come first, so that what a model reads has the addresses that rows, length and outputs give it.
struct PaddedLayout {
  static constexpr std::uint64_t kNowhere = ~std::uint64_t{0};
  std::uint64_t out_tokens, out_mask, out_positions, out_labels, out_cu_seqlens;
  std::uint64_t tokens, labels, lengths, offsets, error;  // what the kernel reads and its scratch
  std::uint64_t bytes;
};
// False: more bytes than there are addresses.
bool layout_of(std::int64_t rows, std::int64_t length, std::uint32_t outputs, bool own_labels, PaddedLayout& out);

// The contracts are gapless.h's.
Status pad(BufferPool& pool, const gapless_ragged_batch& batch, driver::Stream stream, gapless_padded_batch& out,
           gapless_pad_error* error);
Status reserve(BufferPool& pool, const gapless_ragged_batch& batch, std::int64_t longest, driver::Stream stream);

}  // namespace gapless::constant

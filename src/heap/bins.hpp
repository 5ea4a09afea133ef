// SPDX-License-Identifier: Apache-2.0
// Free blocks by size: two-level segregated fit (Masmano et al., TLSF) with 5 bits of mantissa. Sizes below 64 units
// have a bin each; above, a bin spans 1/32 of a power of two, so that a block of any higher bin fits and wastes at most
// 3 %. Lists are last in, first out: the block used most recently is the one whose lines are cached, and equal request
// sequences see equal lists.
#pragma once

#include <bit>
#include <cstdint>

#include "base/compiler.hpp"
#include "heap/block.hpp"

namespace gapless::heap {

class Bins {
 public:
  static constexpr std::uint32_t kBins = 896;  // bin_of(2^32 - 1) + 1
  static constexpr std::uint32_t kNone = ~0u;

  static constexpr std::uint32_t bin_of(Units size) {
    const std::uint32_t u = size.count();
    const auto exponent = static_cast<std::uint32_t>(26 - std::countl_zero(u | 32));
    return (exponent << 5) + (u >> exponent);
  }
  // The smallest size that falls into the bin.
  static constexpr Units floor_of(std::uint32_t bin) {
    if (bin < 64) return Units(bin);
    const std::uint32_t exponent = (bin >> 5) - 1;
    return Units((bin - (exponent << 5)) << exponent);
  }

  BlockId head(std::uint32_t bin) const { return heads_[bin]; }

  // The first bin >= `from` that is not empty, or kNone. `from` may be kBins.
  GAPLESS_FAST std::uint32_t next(std::uint32_t from) const {
    const std::uint32_t word = from >> 6;  // words_ has one word more than the bins need, so `from` may be kBins
    const std::uint64_t here = words_[word] & (~std::uint64_t{0} << (from & 63));
    if (here != 0) return (word << 6) + static_cast<std::uint32_t>(std::countr_zero(here));
    const std::uint32_t later = summary_ & (~1u << word);
    if (later == 0) return kNone;
    const auto found = static_cast<std::uint32_t>(std::countr_zero(later));
    return (found << 6) + static_cast<std::uint32_t>(std::countr_zero(words_[found]));
  }
  // The last bin that is not empty, or kNone.
  std::uint32_t highest() const {
    if (summary_ == 0) return kNone;
    const auto word = static_cast<std::uint32_t>(31 - std::countl_zero(summary_));
    return (word << 6) + static_cast<std::uint32_t>(63 - std::countl_zero(words_[word]));
  }

  GAPLESS_FAST void push(Block* blocks, BlockId id, std::uint32_t bin) {
    const BlockId old = heads_[bin];
    heads_[bin] = id;
    blocks[old].bin_prev = id;  // the dummy's link when the bin was empty
    Block& block = blocks[id];
    block.bin_next = old;
    block.bin_prev = kNoBlock;
    block.bin = static_cast<std::uint16_t>(bin);
    words_[bin >> 6] |= std::uint64_t{1} << (bin & 63);
    summary_ |= 1u << (bin >> 6);
  }

  GAPLESS_FAST void remove(Block* blocks, BlockId id) {
    const BlockId next = blocks[id].bin_next;
    const BlockId prev = blocks[id].bin_prev;
    const std::uint32_t bin = blocks[id].bin;
    blocks[next].bin_prev = prev;
    BlockId* const link = prev != kNoBlock ? &blocks[prev].bin_next : &heads_[bin];
    *link = next;
    clear_if(bin, (next | prev) == kNoBlock);
  }

  GAPLESS_FAST void pop(Block* blocks, std::uint32_t bin) {
    const BlockId next = blocks[heads_[bin]].bin_next;
    heads_[bin] = next;
    blocks[next].bin_prev = kNoBlock;
    clear_if(bin, next == kNoBlock);
  }

  // Both bitmap levels say exactly which lists are not empty.
  bool consistent() const {
    std::uint32_t summary = 0;
    for (std::uint32_t bin = 0; bin < kBins; bin++) {
      const bool marked = (words_[bin >> 6] >> (bin & 63) & 1) != 0;
      if (marked != (heads_[bin] != kNoBlock)) return false;
      if (marked) summary |= 1u << (bin >> 6);
    }
    return summary == summary_;
  }

 private:
  // Arithmetic instead of a branch: whether a list becomes empty is not predictable.
  GAPLESS_FAST void clear_if(std::uint32_t bin, bool empty) {
    const std::uint64_t left = words_[bin >> 6] & ~(std::uint64_t{empty} << (bin & 63));
    words_[bin >> 6] = left;
    summary_ &= ~(std::uint32_t{left == 0} << (bin >> 6));
  }

  static constexpr std::uint32_t kWords = kBins / 64 + 1;
  std::uint64_t words_[kWords] = {};
  std::uint32_t summary_ = 0;
  BlockId heads_[kBins] = {};
  friend struct HeapTestAccess;
};
static_assert(Bins::bin_of(Units(~0u)) == Bins::kBins - 1);

}  // namespace gapless::heap

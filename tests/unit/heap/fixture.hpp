// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "heap/heap.hpp"

namespace gapless::heap {

inline constexpr unsigned kSlotShift = 12;  // 2 MiB
inline constexpr Units kSlot{1u << kSlotShift};

// Reaches into a heap to break it.
struct HeapTestAccess {
  static void set_first(Heap& heap, std::uint32_t slot, BlockId id) { heap.firsts_[slot] = id; }
  static void set_busy(Heap& heap, std::uint32_t count) { heap.busy_ = count; }
  static void clear_bin(Heap& heap, std::uint32_t bin) { heap.bins_.heads_[bin] = kNoBlock; }
  static void clear_start(Heap& heap, Units offset) { heap.starts_[offset.count() >> heap.start_shift_] = kNoBlock; }
  static Span& span(Heap& heap, std::size_t i) { return heap.spans_[i]; }
};

class HeapTest : public ::testing::Test {
 protected:
  HeapTest() {
    const BlockId dummy = pool_.take();
    pool_.give(dummy);
  }
  Heap& make(SizeClass size_class = SizeClass::large, std::uint32_t slots = 1024) {
    heap_.emplace(pool_, size_class, kSlotShift, Units(1u << 30));
    EXPECT_TRUE(heap_->add_span(Units(0), Units(slots << kSlotShift)));
    return *heap_;
  }
  Units offset(BlockId id) const { return pool_[id].offset; }

  BlockPool pool_;
  std::optional<Heap> heap_;
};

}  // namespace gapless::heap

// SPDX-License-Identifier: Apache-2.0
// The logical address space of one (device, stream, class, pool): blocks that tile it.
//
// It knows offsets only. Where a block is placed depends on the sequence of requests and on nothing else, not on what
// physical memory happens to lie where: equal steps then give equal layouts, so that backing converges (allocator-level
// proof: docs/invariants.md, I1 and the guarantee). It makes no system call on the paths marked GAPLESS_FAST but when a
// table grows.
//
// A heap is a row of spans, each one reservation of addresses. Blocks never cross spans. Inside a span blocks tile
// [first, end); `end` only grows. Not thread safe: the owner's fast lock.
#pragma once

#include <cstdint>
#include <vector>

#include "base/check.hpp"
#include "base/compiler.hpp"
#include "base/flat_array.hpp"
#include "heap/bins.hpp"
#include "heap/block.hpp"

namespace gapless::heap {

// The two classes of PyTorch's allocator. Keeping small blocks apart keeps them from pinning granules among large ones.
enum class SizeClass : std::uint8_t { small = 0, large = 1 };
inline constexpr Units kLargestSmall = units_of(kMiB);

struct Span {
  Units first;
  Units end;    // tiled up to here
  Units limit;  // the reservation ends here
  BlockId last = kNoBlock;
};

class Heap {
 public:
  // Free blocks of one bin that are looked at, at most: those that joined it last.
  static constexpr int kBinScan = 64;
  // From this size on a request of class large goes to the lowest of the places looked at, not to the one that joined
  // its bin last (docs/adr/0010).
  static constexpr Units kByAddress = units_of(20 * kMiB);

  // `slot_shift`: log2 of the units in a slot. `capacity`: offsets stay below it; it costs host address space only.
  Heap(BlockPool& pool, SizeClass size_class, unsigned slot_shift, Units capacity);
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // Takes `size` units and returns their block, live. kNoBlock: no free block that it looks at fits and the current
  // span has no room (add one), or the host is out of memory for records.
  GAPLESS_FAST BlockId place(Units size);
  // The free block that place(size) would carve. kNoBlock if it would grow the heap, or take the free block at the end
  // that the search of a long bin did not get to.
  BlockId peek(Units size) const;
  // The block that starts at exactly `offset` and is not free, or kNoBlock.
  GAPLESS_FAST BlockId find_start(Units offset) const;
  // Frees a live or pending block whose last use is the newest of the heap, and coalesces it.
  GAPLESS_FAST void free(BlockId id, std::uint32_t stamp);
  // Frees a block that was not used: keeps the older stamps. Returns the free block that it became part of.
  BlockId unplace(BlockId id);

  // From now on requests of every size go to the place freed last (or no longer so). Changes no block.
  void prefer_recent(bool on) { by_address_from_ = on || size_class_ == SizeClass::small ? kNever : kByAddress; }

  // Takes exactly [offset, offset + size) out of a free block that holds it.
  BlockId place_at(BlockId free_block, Units offset, Units size);
  // Takes `size` units at the end, growing the last block where it is free.
  BlockId place_at_end(Units size);
  // The end where place_at_end would put them, or nothing if the span has no room.
  bool end_place(Units size, Units& offset) const;

  // A further span; what is left of the one before becomes a free block. [first, limit) lies above all earlier spans.
  bool add_span(Units first, Units limit);
  // A span that is tiled by one free block from the start. Returns it, or kNoBlock.
  BlockId add_full_span(Units first, Units limit);
  // Takes away a span that is one free block.
  void remove_span(BlockId whole);
  // The only block of its span?
  bool is_whole_span(BlockId id) const { return pool_[id].prev == kNoBlock && pool_[id].next == kNoBlock; }

  // The block that holds the unit at `offset`, or kNoBlock if none does.
  BlockId block_at(Units offset) const;

  const Bins& bins() const { return bins_; }
  const std::vector<Span>& spans() const { return spans_; }
  BlockPool& pool() const { return pool_; }
  BlockId head_of(const Span& span) const { return firsts_[slot_of(span.first)]; }
  Units capacity() const { return capacity_; }
  SizeClass size_class() const { return size_class_; }
  unsigned slot_shift() const { return slot_shift_; }
  Units slot_units() const { return Units(1u << slot_shift_); }
  // Blocks that are not free.
  std::uint32_t busy_blocks() const { return busy_; }
  bool empty() const { return busy_ == 0; }
  std::size_t table_bytes() const { return starts_.committed_bytes() + firsts_.committed_bytes(); }

  // The whole slots that a free block covers, [first, last). Space beyond the end of its span counts as free, so the
  // last block of a span owns the slot that it ends in.
  void whole_slots(BlockId id, std::uint32_t& first, std::uint32_t& last) const;

  // Checks I1, H1 to H5; throws BrokenInvariant. Cost: the whole heap.
  void validate() const;

 private:
  friend struct HeapTestAccess;

  GAPLESS_FAST std::uint32_t slot_of(Units offset) const { return offset.count() >> slot_shift_; }
  GAPLESS_FAST void mark_first(std::uint32_t slot, BlockId id) {
    firsts_[slot] = id;
    first_words_[slot >> 6] |= std::uint64_t{1} << (slot & 63);
  }
  GAPLESS_FAST void clear_first(std::uint32_t slot) {
    firsts_[slot] = kNoBlock;
    first_words_[slot >> 6] &= ~(std::uint64_t{1} << (slot & 63));
  }
  GAPLESS_FAST BlockId made_live(BlockId id) {
    Block& block = pool_[id];
    block.state = BlockState::live;
    block.flags = 0;
    starts_[block.offset.count() >> start_shift_] = id;
    busy_++;
    return id;
  }
  GAPLESS_FAST BlockId carve(BlockId from, Units size);
  GAPLESS_FAST BlockId choose(std::uint32_t bin, Units size) const;
  BlockId scan_own_bin(std::uint32_t bin, Units size) const;
  BlockId lowest_of(std::uint32_t bin, Units size) const;
  GAPLESS_SLOW BlockId lowest(std::uint32_t bin, Units size) const;
  GAPLESS_SLOW BlockId extend(Units size);
  BlockId append(Units size);
  Span& span_of(Units offset);
  void set_last(BlockId gone, BlockId now);
  void absorb_next(BlockId id);
  bool grow_starts(Units end);

  static constexpr Units kNever{~0u};

  BlockPool& pool_;
  const SizeClass size_class_;
  const Units capacity_;
  const std::uint8_t slot_shift_;
  // Starts are found by a flat table: one entry a unit for small blocks; for large ones, which are longer than 1 MiB,
  // one a MiB, since no two of them that are not free start in the same.
  const std::uint8_t start_shift_;
  BlockId last_ = kNoBlock;  // of the current span
  std::uint32_t end_ = 0;
  std::uint32_t limit_ = 0;
  std::uint32_t busy_ = 0;
  Units by_address_from_;
  base::FlatArray<BlockId> starts_;
  base::FlatArray<BlockId> firsts_;             // the first block that starts in a slot
  base::FlatArray<std::uint64_t> first_words_;  // bit s: firsts_[s] is a block
  Bins bins_;
  std::vector<Span> spans_;  // ascending; the last is the current one, its `end` and `last` are end_ and last_
};

BlockId Heap::find_start(Units offset) const {
  const std::uint32_t cell = offset.count() >> start_shift_;
  if (cell >= starts_.size()) [[unlikely]]
    return kNoBlock;
  const BlockId id = starts_[cell];
  const Block& block = pool_[id];
  // Entries are not cleared when a block is freed: what they name must prove itself.
  return id != kNoBlock && block.offset == offset && !block.is_free() ? id : kNoBlock;
}

// For a request that the head of its own bin does not fit exactly. Any block of a higher bin fits: only where there is
// none is the own bin searched. From kByAddress on the own bin comes first, and the lowest place in either.
BlockId Heap::choose(std::uint32_t bin, Units size) const {
  if (size >= by_address_from_) [[unlikely]]
    return lowest(bin, size);
  const std::uint32_t higher = bins_.next(bin + 1);
  return higher != Bins::kNone ? bins_.head(higher) : scan_own_bin(bin, size);
}

BlockId Heap::place(Units size) {
  Block* const blocks = pool_.data();
  const std::uint32_t bin = Bins::bin_of(size);
  const BlockId head = bins_.head(bin);
  if (head != kNoBlock && blocks[head].size == size) {
    bins_.pop(blocks, bin);
    return made_live(head);
  }
  const BlockId from = choose(bin, size);
  if (from == kNoBlock) [[unlikely]]
    return extend(size);
  if (blocks[from].size == size) {
    bins_.remove(blocks, from);
    return made_live(from);
  }
  return carve(from, size);
}

// Takes the front. The front gets the new record and the remainder keeps the old one: when that is still the head of
// its bin, which is the common case of carving a large block again and again, no list changes.
BlockId Heap::carve(BlockId from, Units size) {
  const BlockId id = pool_.take();
  if (id == kNoBlock) [[unlikely]]
    return kNoBlock;
  Block* const blocks = pool_.data();
  Block& rest = blocks[from];
  Block& front = blocks[id];
  const Units offset = rest.offset;
  const BlockId prev = rest.prev;
  front.offset = offset;
  front.size = size;
  front.prev = prev;
  front.next = from;
  front.stamp = rest.stamp;
  rest.prev = id;
  rest.offset = offset + size;
  rest.size -= size;

  const std::uint32_t slot = slot_of(offset);
  const std::uint32_t rest_slot = slot_of(rest.offset);
  std::uint32_t prev_slot = ~0u;
  if (prev != kNoBlock) {
    blocks[prev].next = id;
    prev_slot = slot_of(blocks[prev].offset);
  }
  if (prev_slot != slot) firsts_[slot] = id;  // its bit is set: `from` started here
  if (rest_slot != slot) mark_first(rest_slot, from);

  const std::uint32_t bin = Bins::bin_of(rest.size);
  if (bin != rest.bin || rest.bin_prev != kNoBlock) {
    bins_.remove(blocks, from);
    bins_.push(blocks, from, bin);
  }
  return made_live(id);
}

void Heap::free(BlockId id, std::uint32_t stamp) {
  Block* const blocks = pool_.data();
  Block& block = blocks[id];
  const BlockId prev = block.prev;
  BlockId next = block.next;
  const std::uint32_t slot = slot_of(block.offset);
  GAPLESS_CHECK(2, "H2", !block.is_free() && busy_ > 0);
  busy_--;

  if (next != kNoBlock && blocks[next].is_free()) {
    Block& eaten = blocks[next];
    bins_.remove(blocks, next);
    const std::uint32_t eaten_slot = slot_of(eaten.offset);
    const BlockId after = eaten.next;
    block.size += eaten.size;
    block.next = after;
    std::uint32_t after_slot = ~0u;
    if (after != kNoBlock) {
      blocks[after].prev = id;
      after_slot = slot_of(blocks[after].offset);
    } else {
      set_last(next, id);
    }
    if (eaten_slot != slot) {
      if (after_slot == eaten_slot)
        firsts_[eaten_slot] = after;
      else
        clear_first(eaten_slot);
    }
    pool_.give(next);
    next = after;
  }

  if (prev != kNoBlock && blocks[prev].is_free()) {
    Block& into = blocks[prev];
    if (slot_of(into.offset) != slot) {
      if (next != kNoBlock && slot_of(blocks[next].offset) == slot)
        firsts_[slot] = next;
      else
        clear_first(slot);
    }
    into.size += block.size;
    into.next = next;
    into.stamp = stamp;
    if (next != kNoBlock)
      blocks[next].prev = prev;
    else
      set_last(id, prev);
    block.state = BlockState::free;  // its entry in starts_ must not find it again
    pool_.give(id);
    const std::uint32_t bin = Bins::bin_of(into.size);
    if (bin != into.bin || into.bin_prev != kNoBlock) {
      bins_.remove(blocks, prev);
      bins_.push(blocks, prev, bin);
    }
    return;
  }

  block.stamp = stamp;
  block.state = BlockState::free;
  bins_.push(blocks, id, Bins::bin_of(block.size));
}

}  // namespace gapless::heap

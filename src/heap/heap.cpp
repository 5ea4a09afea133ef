// SPDX-License-Identifier: Apache-2.0
#include "heap/heap.hpp"

#include <algorithm>

namespace gapless::heap {

Heap::Heap(BlockPool& pool, SizeClass size_class, unsigned slot_shift, Units capacity)
    : pool_(pool),
      size_class_(size_class),
      capacity_(capacity),
      slot_shift_(static_cast<std::uint8_t>(slot_shift)),
      start_shift_(size_class == SizeClass::small ? 0 : 11),
      starts_((std::size_t{capacity.count()} >> start_shift_) + 2),
      firsts_((std::size_t{capacity.count()} >> slot_shift) + 1),
      first_words_((std::size_t{capacity.count()} >> slot_shift) / 64 + 2) {
  prefer_recent(false);
}

BlockId Heap::scan_own_bin(std::uint32_t bin, Units size) const {
  int looked_at = 0;
  for (BlockId id = bins_.head(bin); id != kNoBlock && looked_at < kBinScan; id = pool_[id].bin_next, looked_at++)
    if (pool_[id].size >= size) return id;
  return kNoBlock;
}

BlockId Heap::lowest_of(std::uint32_t bin, Units size) const {
  BlockId best = kNoBlock;
  int looked_at = 0;
  for (BlockId id = bins_.head(bin); id != kNoBlock && looked_at < kBinScan; id = pool_[id].bin_next, looked_at++)
    if (pool_[id].size >= size && (best == kNoBlock || pool_[id].offset < pool_[best].offset)) best = id;
  return best;
}

BlockId Heap::lowest(std::uint32_t bin, Units size) const {
  const BlockId own = lowest_of(bin, size);
  if (own != kNoBlock) return own;
  const std::uint32_t higher = bins_.next(bin + 1);
  return higher != Bins::kNone ? lowest_of(higher, size) : kNoBlock;
}

BlockId Heap::peek(Units size) const {
  const std::uint32_t bin = Bins::bin_of(size);
  const BlockId head = bins_.head(bin);
  if (head != kNoBlock && pool_[head].size == size) return head;
  return choose(bin, size);
}

bool Heap::grow_starts(Units end) {
  return starts_.grow_to((std::size_t{end.count()} >> start_shift_) + 1);
}

bool Heap::end_place(Units size, Units& offset) const {
  const bool grows_last = last_ != kNoBlock && pool_[last_].is_free();
  offset = grows_last ? pool_[last_].offset : Units(end_);
  return size.count() <= limit_ - offset.count();
}

BlockId Heap::extend(Units size) {
  return place_at_end(size);
}

BlockId Heap::place_at_end(Units size) {
  Units offset;
  if (!end_place(size, offset) || !grow_starts(offset + size)) return kNoBlock;
  Block* const blocks = pool_.data();
  if (last_ != kNoBlock && blocks[last_].is_free()) {
    const BlockId id = last_;
    if (blocks[id].size >= size) return place_at(id, offset, size);
    bins_.remove(blocks, id);
    blocks[id].size = size;
    end_ = offset.count() + size.count();
    spans_.back().end = Units(end_);
    return made_live(id);
  }
  const BlockId id = append(size);
  return id == kNoBlock ? kNoBlock : made_live(id);
}

// A block of `size` units after the last one, in no list.
BlockId Heap::append(Units size) {
  const BlockId id = pool_.take();
  if (id == kNoBlock) return kNoBlock;
  Block& block = pool_[id];
  block = Block{};
  block.offset = Units(end_);
  block.size = size;
  block.prev = last_;
  const std::uint32_t slot = slot_of(block.offset);
  if (last_ != kNoBlock) {
    pool_[last_].next = id;
    if (slot_of(pool_[last_].offset) != slot) mark_first(slot, id);
  } else {
    mark_first(slot, id);
  }
  last_ = id;
  end_ += size.count();
  spans_.back().last = id;
  spans_.back().end = Units(end_);
  return id;
}

bool Heap::add_span(Units first, Units limit) {
  GAPLESS_CHECK(1, "H5", first < limit && first.count() >= limit_);
  GAPLESS_CHECK(1, "H5", (first.count() & (slot_units().count() - 1)) == 0 && limit <= capacity_);
  const std::size_t slots = ((std::size_t{limit.count()} - 1) >> slot_shift_) + 1;
  if (!firsts_.grow_to(slots) || !first_words_.grow_to(slots / 64 + 1)) return false;
  // What is left of the current span becomes a free block, so that it is not lost.
  if (!spans_.empty() && end_ < limit_) {
    const Units rest = Units(limit_ - end_);
    if (last_ != kNoBlock && pool_[last_].is_free()) {
      bins_.remove(pool_.data(), last_);
      pool_[last_].size += rest;
      end_ = limit_;
      spans_.back().end = Units(end_);
      bins_.push(pool_.data(), last_, Bins::bin_of(pool_[last_].size));
    } else {
      const BlockId id = append(rest);
      if (id == kNoBlock) return false;
      pool_[id].state = BlockState::free;
      bins_.push(pool_.data(), id, Bins::bin_of(rest));
    }
    if (!grow_starts(Units(end_))) return false;
  }
  spans_.push_back(Span{first, first, limit, kNoBlock});
  last_ = kNoBlock;
  end_ = first.count();
  limit_ = limit.count();
  return true;
}

BlockId Heap::add_full_span(Units first, Units limit) {
  if (!add_span(first, limit) || !grow_starts(limit)) return kNoBlock;
  const BlockId id = append(limit - first);
  if (id == kNoBlock) return kNoBlock;
  pool_[id].state = BlockState::free;
  bins_.push(pool_.data(), id, Bins::bin_of(pool_[id].size));
  return id;
}

void Heap::remove_span(BlockId whole) {
  GAPLESS_CHECK(1, "H5", pool_[whole].is_free() && is_whole_span(whole));
  const Units offset = pool_[whole].offset;
  bins_.remove(pool_.data(), whole);
  clear_first(slot_of(offset));
  pool_.give(whole);
  const auto span = std::find_if(spans_.begin(), spans_.end(), [&](const Span& s) { return s.first == offset; });
  const bool current = &*span == &spans_.back();
  spans_.erase(span);
  if (current) {
    // Every earlier span is tiled to its limit: nothing can be placed at the end until a span is added.
    last_ = kNoBlock;
    limit_ = spans_.empty() ? 0 : spans_.back().limit.count();
    end_ = limit_;
  }
}

Span& Heap::span_of(Units offset) {
  const auto after = std::upper_bound(spans_.begin(), spans_.end(), offset,
                                      [](Units value, const Span& span) { return value < span.first; });
  return *(after - 1);
}

// `gone` was the last block of its span and is being absorbed by `now`.
void Heap::set_last(BlockId gone, BlockId now) {
  if (gone == last_) last_ = now;
  span_of(pool_[now].offset).last = now;
}

void Heap::absorb_next(BlockId id) {
  Block* const blocks = pool_.data();
  Block& block = blocks[id];
  const BlockId next = block.next;
  const Block eaten = blocks[next];
  const std::uint32_t slot = slot_of(block.offset);
  const std::uint32_t eaten_slot = slot_of(eaten.offset);
  const BlockId after = eaten.next;
  if (eaten_slot != slot) {
    if (after != kNoBlock && slot_of(blocks[after].offset) == eaten_slot)
      firsts_[eaten_slot] = after;
    else
      clear_first(eaten_slot);
  }
  block.size += eaten.size;
  block.stamp = std::max(block.stamp, eaten.stamp);
  block.next = after;
  if (after != kNoBlock)
    blocks[after].prev = id;
  else
    set_last(next, id);
  blocks[next].state = BlockState::free;
  pool_.give(next);
}

BlockId Heap::unplace(BlockId id) {
  Block* const blocks = pool_.data();
  blocks[id].state = BlockState::free;
  busy_--;
  const BlockId next = blocks[id].next;
  if (next != kNoBlock && blocks[next].is_free()) {
    bins_.remove(blocks, next);
    absorb_next(id);
  }
  const BlockId prev = blocks[id].prev;
  if (prev != kNoBlock && blocks[prev].is_free()) {
    bins_.remove(blocks, prev);
    absorb_next(prev);
    id = prev;
  }
  bins_.push(blocks, id, Bins::bin_of(blocks[id].size));
  return id;
}

BlockId Heap::place_at(BlockId free_block, Units offset, Units size) {
  const Block whole = pool_[free_block];
  GAPLESS_CHECK(1, "H1", whole.is_free() && offset >= whole.offset && offset.count() + size.count() <= whole.end());
  if (offset == whole.offset) {
    if (size < whole.size) return carve(free_block, size);
    bins_.remove(pool_.data(), free_block);
    return made_live(free_block);
  }
  // Records first: after this nothing can fail.
  const BlockId id = pool_.take();
  if (id == kNoBlock) return kNoBlock;
  const bool has_tail = offset.count() + size.count() < whole.end();
  const BlockId tail = has_tail ? pool_.take() : kNoBlock;
  if (has_tail && tail == kNoBlock) {
    pool_.give(id);
    return kNoBlock;
  }
  Block* const blocks = pool_.data();
  bins_.remove(blocks, free_block);
  blocks[free_block].size = offset - whole.offset;
  auto link_after = [&](BlockId left, BlockId fresh, Units at, Units units) {
    const BlockId right = blocks[left].next;
    blocks[fresh] = Block{};
    blocks[fresh].offset = at;
    blocks[fresh].size = units;
    blocks[fresh].prev = left;
    blocks[fresh].next = right;
    blocks[fresh].stamp = whole.stamp;
    blocks[left].next = fresh;
    if (right != kNoBlock)
      blocks[right].prev = fresh;
    else
      set_last(left, fresh);
    if (slot_of(blocks[left].offset) != slot_of(at)) mark_first(slot_of(at), fresh);
  };
  link_after(free_block, id, offset, size);
  if (has_tail) {
    link_after(id, tail, offset + size, Units(whole.end() - offset.count() - size.count()));
    blocks[tail].state = BlockState::free;
    bins_.push(blocks, tail, Bins::bin_of(blocks[tail].size));
  }
  bins_.push(blocks, free_block, Bins::bin_of(blocks[free_block].size));
  return made_live(id);
}

BlockId Heap::block_at(Units offset) const {
  std::uint32_t slot = slot_of(offset);
  if (slot >= firsts_.size()) return kNoBlock;
  BlockId id = firsts_[slot];
  if (id == kNoBlock || pool_[id].offset > offset) {
    // The block that holds it starts in an earlier slot: the nearest one with a start.
    std::uint32_t word = slot >> 6;
    std::uint64_t bits = first_words_[word] & ((std::uint64_t{1} << (slot & 63)) - 1);
    while (bits == 0) {
      if (word-- == 0) return kNoBlock;
      bits = first_words_[word];
    }
    slot = (word << 6) + static_cast<std::uint32_t>(63 - std::countl_zero(bits));
    id = firsts_[slot];
  }
  while (id != kNoBlock && pool_[id].end() <= offset.count()) id = pool_[id].next;
  return id != kNoBlock && pool_[id].offset <= offset ? id : kNoBlock;
}

void Heap::whole_slots(BlockId id, std::uint32_t& first, std::uint32_t& last) const {
  const Block& block = pool_[id];
  const std::uint32_t mask = slot_units().count() - 1;
  const std::uint64_t end = block.end() + (block.next == kNoBlock ? std::uint64_t{mask} : 0);
  first = static_cast<std::uint32_t>((std::uint64_t{block.offset.count()} + mask) >> slot_shift_);
  last = static_cast<std::uint32_t>(end >> slot_shift_);
  if (last < first) last = first;
}

void Heap::validate() const {
  std::uint32_t busy = 0;
  std::uint32_t listed = 0;
  GAPLESS_CHECK(1, "H3", bins_.consistent());
  for (std::uint32_t bin = bins_.next(0); bin != Bins::kNone; bin = bins_.next(bin + 1))
    for (BlockId id = bins_.head(bin), before = kNoBlock; id != kNoBlock; before = id, id = pool_[id].bin_next) {
      GAPLESS_CHECK(1, "H3", pool_[id].is_free() && pool_[id].bin == bin && Bins::bin_of(pool_[id].size) == bin);
      GAPLESS_CHECK(1, "H3", pool_[id].bin_prev == before);
      listed++;
    }
  std::uint32_t free_blocks = 0;
  std::uint32_t starts = 0;
  for (const Span& span : spans_) {
    std::uint32_t at = span.first.count();
    BlockId before = kNoBlock;
    std::uint32_t slot_before = ~0u;
    for (BlockId id = span.end > span.first ? head_of(span) : kNoBlock; id != kNoBlock; id = pool_[id].next) {
      const Block& block = pool_[id];
      GAPLESS_CHECK(1, "I1", block.offset.count() == at && block.size.count() > 0);
      GAPLESS_CHECK(1, "I1", !(block.is_free() && before != kNoBlock && pool_[before].is_free()));
      GAPLESS_CHECK(1, "H1", block.prev == before);
      const std::uint32_t slot = slot_of(block.offset);
      if (slot != slot_before) {
        GAPLESS_CHECK(1, "H4", firsts_[slot] == id && (first_words_[slot >> 6] >> (slot & 63) & 1) != 0);
        starts++;
      }
      if (block.is_free()) {
        free_blocks++;
      } else {
        GAPLESS_CHECK(1, "H2", find_start(block.offset) == id);
        busy++;
      }
      slot_before = slot;
      before = id;
      at = block.end();
    }
    GAPLESS_CHECK(1, "I1", at == span.end.count() && span.end <= span.limit);
    GAPLESS_CHECK(1, "H5", span.last == before);
  }
  GAPLESS_CHECK(1, "H3", listed == free_blocks);
  GAPLESS_CHECK(1, "H2", busy == busy_);
  std::uint32_t marked = 0;
  for (std::size_t w = 0; w < first_words_.size(); w++)
    marked += static_cast<std::uint32_t>(std::popcount(first_words_[w]));
  GAPLESS_CHECK(1, "H4", marked == starts);
}

}  // namespace gapless::heap

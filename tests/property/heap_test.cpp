// SPDX-License-Identifier: Apache-2.0
// The heap against a list of intervals: whatever is placed, freed and taken back, blocks tile their spans, nothing
// overlaps, every look-up finds what the list says, a fit that exists is found, peek() names the block that place()
// then takes from, the largest requests go to the lowest place, and equal programs give equal layouts.
#include "heap/heap.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace gapless::heap {
namespace {

constexpr unsigned kSlotShift = 12;  // 2 MiB
constexpr std::uint32_t kSlot = 1u << kSlotShift;
constexpr std::uint32_t kSpans = 3;
// A span is soon full, and one of class large holds ten requests of the size that goes by address.
constexpr std::uint32_t span_slots(SizeClass size_class) {
  return size_class == SizeClass::small ? 24 : 128;
}
// So few that a bounded search sees all of them.
static_assert(kSpans * span_slots(SizeClass::large) * kSlot / Heap::kByAddress.count() < Heap::kBinScan);

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
void require(bool condition, const char* what) {
  if (!condition) throw Failure(what);
}

class Program {
 public:
  explicit Program(SizeClass size_class)
      : small_(size_class == SizeClass::small),
        span_slots_(span_slots(size_class)),
        heap_(pool_, size_class, kSlotShift, Units(kSlot * (span_slots_ + 2) * kSpans)),
        recent_(small_) {
    add_span();
  }

  void word(std::uint32_t word) {
    const std::uint32_t kind = word & 15, rest = word >> 4;
    if (kind < 7) {
      place(rest);
    } else if (kind < 12) {
      release(rest);
    } else if (kind == 12) {
      place_inside(rest);
    } else if (kind == 13) {
      place_at_end(rest);
    } else if (kind == 14) {
      const BlockId id = place_where_peeked(size_of(rest));
      if (id != kNoBlock) require(heap_.pool()[heap_.unplace(id)].is_free(), "unplace left a block that is not free");
    } else if (rest % 16 == 0) {
      prefer_recent(rest % 32 == 0);
    } else if (spans_ < kSpans) {
      add_span();
    }
  }

  void check() const {
    heap_.validate();
    require(heap_.busy_blocks() == live_.size(), "busy_blocks");
    for (const auto& [offset, block] : live_) {
      const Units at(offset);
      require(heap_.find_start(at) == block.id, "find_start does not find a live block");
      require(heap_.block_at(at) == block.id, "block_at the start of a live block");
      require(heap_.block_at(Units(offset + block.size - 1)) == block.id, "block_at the end of a live block");
      if (block.size > 1)
        require(heap_.find_start(Units(offset + 1)) == kNoBlock, "find_start finds the inside of a block");
    }
  }

  void drain() {
    while (!live_.empty()) release(static_cast<std::uint32_t>(live_.size() / 2));
    for (const Span& span : heap_.spans()) {
      const BlockId head = span.end > span.first ? heap_.head_of(span) : kNoBlock;
      require(head == kNoBlock || (heap_.is_whole_span(head) && heap_.pool()[head].is_free()),
              "free blocks were not joined");
    }
  }

  const std::vector<std::uint32_t>& layout() const { return layout_; }

 private:
  struct Live {
    BlockId id;
    std::uint32_t size;
  };

  // Class large holds blocks above 1 MiB only; its table of starts relies on it. A quarter of them are 20 to 28 MiB
  // long, some just below the size from which requests go by address.
  Units size_of(std::uint32_t bits) const {
    const std::uint32_t size = 1 + ((bits & 31) << ((bits >> 5) % 10)) + ((bits >> 10) & 3);
    if (small_) return Units(1 + size % kLargestSmall.count());
    const bool largest = ((bits >> 12) & 3) == 3;
    return Units(size + (largest ? Heap::kByAddress.count() - 3 : kLargestSmall.count()));
  }

  void add_span() {
    // A slot stays empty between spans, as between reservations.
    const std::uint32_t first = spans_++ * (span_slots_ + 1) * kSlot;
    require(heap_.add_span(Units(first), Units(first + span_slots_ * kSlot)), "add_span");
  }

  void prefer_recent(bool on) {
    recent_ = on || small_;
    heap_.prefer_recent(on);
  }

  void remember(BlockId id, Units size) {
    const Block& block = heap_.pool()[id];
    require(block.size == size && block.state == BlockState::live, "a placed block has another size or is not live");
    const std::uint32_t offset = block.offset.count(), end = block.end();
    const auto next = live_.lower_bound(offset);
    require(next == live_.end() || next->first >= end, "overlaps the next live block");
    require(next == live_.begin() || std::prev(next)->first + std::prev(next)->second.size <= offset,
            "overlaps the live block before");
    bool inside = false;
    for (const Span& span : heap_.spans())
      inside = inside || (offset >= span.first.count() && end <= span.limit.count());
    require(inside, "crosses the border of its span");
    live_[offset] = {id, size.count()};
    layout_.push_back(offset);
  }

  // A block of a higher bin fits by construction, so one such block means that place() must succeed; and so does room
  // at the end.
  bool must_fit(Units size) const {
    Units end;
    return heap_.bins().next(Bins::bin_of(size) + 1) != Bins::kNone || heap_.end_place(size, end);
  }

  // The end of the heap moves exactly where peek() names no block.
  BlockId place_where_peeked(Units size) {
    const BlockId from = heap_.peek(size);
    const Units end = heap_.spans().back().end;
    if (from == kNoBlock) {
      const BlockId id = heap_.place(size);
      require((id != kNoBlock) == (heap_.spans().back().end > end), "peek named no block and place found one");
      return id;
    }
    const Block peeked = heap_.pool()[from];
    require(peeked.is_free() && peeked.size >= size, "peek named a block that is not free or too small");
    if (!recent_ && size >= Heap::kByAddress) require_lowest(from, size);
    const BlockId id = heap_.place(size);
    require(id != kNoBlock && heap_.pool()[id].offset == peeked.offset, "place went elsewhere than peek said");
    require(heap_.spans().back().end == end, "peek named a block and place grew the heap");
    return id;
  }

  // Of its own bin where one fits there, else of the first bin above that has any.
  void require_lowest(BlockId chosen, Units size) const {
    const std::uint32_t own = Bins::bin_of(size);
    const Block& block = heap_.pool()[chosen];
    const BlockId head = heap_.bins().head(own);
    if (head != kNoBlock && heap_.pool()[head].size == size) {
      require(chosen == head, "the block freed last has the size and was not chosen");
      return;
    }
    require(block.bin == own || block.bin == heap_.bins().next(own + 1), "a bin was passed over");
    for (const std::uint32_t bin : {own, std::uint32_t{block.bin}})
      for (BlockId id = heap_.bins().head(bin); id != kNoBlock; id = heap_.pool()[id].bin_next)
        require(heap_.pool()[id].size < size || (block.bin == bin && heap_.pool()[id].offset >= block.offset),
                "a lower place fits, or one of the own bin");
  }

  void place(std::uint32_t bits) {
    const Units size = size_of(bits);
    const bool must = must_fit(size);
    const BlockId id = place_where_peeked(size);
    require(id != kNoBlock || !must, "a place was there and not found");
    if (id != kNoBlock) remember(id, size);
  }

  void place_at_end(std::uint32_t bits) {
    const Units size = size_of(bits);
    Units expected;
    const bool room = heap_.end_place(size, expected);
    const BlockId id = heap_.place_at_end(size);
    require((id != kNoBlock) == room, "end_place and place_at_end disagree");
    if (id == kNoBlock) return;
    require(heap_.pool()[id].offset == expected, "place_at_end went elsewhere than end_place said");
    remember(id, size);
  }

  // A piece out of the middle of the largest free block: what the miss ladder does at the limit.
  void place_inside(std::uint32_t bits) {
    const std::uint32_t bin = heap_.bins().highest();
    if (bin == Bins::kNone) return;
    const BlockId free_block = heap_.bins().head(bin);
    const Block block = heap_.pool()[free_block];
    const Units size = size_of(bits);
    if (size > block.size) return;
    const std::uint32_t room = block.size.count() - size.count();
    const std::uint32_t skip = (bits >> 12) % 3 == 0 ? 0 : (bits >> 12) % 3 == 1 ? room : (bits >> 14) % (room + 1);
    const Units offset = Units(block.offset.count() + skip);
    const BlockId id = heap_.place_at(free_block, offset, size);
    require(id != kNoBlock && heap_.pool()[id].offset == offset, "place_at went elsewhere");
    remember(id, size);
  }

  void release(std::uint32_t bits) {
    if (live_.empty()) return;
    auto at = live_.begin();
    std::advance(at, bits % live_.size());
    heap_.free(at->second.id, ++stamp_);
    require(heap_.find_start(Units(at->first)) == kNoBlock, "a freed block is still found");
    live_.erase(at);
  }

  const bool small_;
  const std::uint32_t span_slots_;
  BlockPool pool_{1 << 16};
  Heap heap_;
  std::map<std::uint32_t, Live> live_;
  std::vector<std::uint32_t> layout_;
  std::uint32_t spans_ = 0, stamp_ = 0;
  bool recent_;  // no request goes by address
};

void run(SizeClass size_class, const std::vector<std::uint32_t>& words) {
  Program program(size_class), twin(size_class);
  for (std::size_t i = 0; i < words.size(); ++i) {
    try {
      program.word(words[i]);
      program.check();
    } catch (const std::exception& failure) {
      RC_FAIL("word " + std::to_string(i) + ": " + failure.what());
    }
    twin.word(words[i]);
  }
  RC_ASSERT(program.layout() == twin.layout());
  try {
    program.drain();
    program.check();
  } catch (const std::exception& failure) {
    RC_FAIL(std::string("draining: ") + failure.what());
  }
}

auto programs() {
  return rc::gen::scale(4.0, rc::gen::container<std::vector<std::uint32_t>>(rc::gen::arbitrary<std::uint32_t>()));
}

TEST(HeapProperty, SmallBlocks) {
  EXPECT_TRUE(rc::check([] { run(SizeClass::small, *programs()); }));
}

TEST(HeapProperty, LargeBlocks) {
  EXPECT_TRUE(rc::check([] { run(SizeClass::large, *programs()); }));
}

}  // namespace
}  // namespace gapless::heap

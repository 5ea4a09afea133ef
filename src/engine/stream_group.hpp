// SPDX-License-Identifier: Apache-2.0
// Several streams that share one heap (option stream_sharing): which of them used what last.
//
// Freed memory of the shared heap is free at once, for all members. A table says, for each member and each slot, in
// which of the member's epochs the slot was last used; another, up to which epoch of every other member a member comes
// after it by order it has already. A block may be handed to a member when the second covers the first; where it does
// not, a wait edge makes it so, and the block is handed out then. Slots instead of blocks: nothing is to be merged when
// blocks coalesce, and a part of a large free block waits only for those who used that part.
//
// The tables change under the fast lock; members come and go, and orders are made, under map and fast lock.
#pragma once

#include <array>
#include <cstdint>

#include "base/flat_array.hpp"
#include "base/status.hpp"
#include "engine/backed_heap.hpp"
#include "stream/stream_order.hpp"

namespace gapless::engine {

class StreamGroup {
 public:
  // Streams beyond these have heaps of their own. A row of the table is scanned for each member.
  static constexpr std::size_t kMostMembers = 8;

  // Null until the first member joins.
  BackedHeap* heap() const { return heap_; }
  void set_heap(BackedHeap& heap);
  // Nobody could join.
  void drop_heap();

  // A place for `stream`, or kNoMember. Under map and fast lock.
  heap::MemberId join(stream::StreamState& stream);
  // The place of a stream that is finished, whose uses are all known to be over and that holds no block, is free again.
  // Under map and fast lock.
  void drop(heap::MemberId member);
  // The member that `key` names, or kNoMember. Under the fast lock.
  heap::MemberId find(const stream::StreamKey& key) const;
  bool holds(const stream::StreamState& stream) const;
  stream::StreamState& stream(heap::MemberId member) const { return *members_[member].stream; }
  bool has(heap::MemberId member) const { return members_[member].stream != nullptr; }
  std::uint32_t live(heap::MemberId member) const { return members_[member].live; }

  // `first` to `last`: slots, the last one included. Under the fast lock.
  void hand_out(heap::MemberId member) { members_[member].live++; }
  void take_back(heap::MemberId member) { members_[member].live--; }
  // False: no host memory for the table.
  bool grow_to(std::uint32_t slots);
  // The member may be using them until its present epoch is over.
  void note_use(heap::MemberId member, std::uint32_t first, std::uint32_t last);
  // A handle comes to lie under the slot for the member, which comes after all uses of it: they are the member's now.
  void start(heap::MemberId member, std::uint32_t slot);
  // Does the member come after all other members' uses of them?
  bool ordered(heap::MemberId member, std::uint32_t first, std::uint32_t last) const;
  // The member's newest use of any of them; 0: none.
  std::uint32_t newest(heap::MemberId member, std::uint32_t first, std::uint32_t last) const;
  // `member` comes after everything of `other` up to `epoch`.
  void note_order(heap::MemberId member, heap::MemberId other, std::uint32_t epoch);

  template <typename Visit>
  void for_each_use(std::uint32_t first, std::uint32_t last, Visit visit) const {
    for (heap::MemberId m = 0; m < kMostMembers; m++)
      if (has(m))
        if (const std::uint32_t stamp = newest(m, first, last); stamp != 0) visit(*members_[m].stream, stamp);
  }

  // Epochs are numbered anew (StreamOrder::renumbered); nobody comes after anybody by order of before. Under map and
  // fast lock, before StreamOrder::restart.
  void renumber();

  // Checks G1; throws BrokenInvariant. Under map and fast lock.
  void validate() const;

 private:
  struct Member {
    stream::StreamState* stream = nullptr;
    std::uint32_t live = 0;                           // blocks that it holds
    base::FlatArray<std::uint32_t> used;              // by slot: its epoch of the last use
    std::array<std::uint32_t, kMostMembers> after{};  // by member: it comes after that one's uses up to that epoch
  };

  BackedHeap* heap_ = nullptr;
  std::array<Member, kMostMembers> members_;
};

// Whose work the memory of a free block, or of slots of it, may still be subject to: the streams and their stamps.
// `stamp`: the block's, or the slots' last use; what a private heap goes by.
template <typename Visit>
void for_each_use(const BackedHeap& heap, std::uint32_t first, std::uint32_t last, std::uint32_t stamp, Visit visit) {
  if (heap.group == nullptr)
    visit(*heap.stream, stamp);
  else
    heap.group->for_each_use(first, last, visit);
}
inline bool known_over(const BackedHeap& heap, std::uint32_t first, std::uint32_t last, std::uint32_t stamp) {
  bool over = true;
  for_each_use(heap, first, last, stamp, [&](const stream::StreamState& stream, std::uint32_t epoch) {
    over = over && stream::StreamOrder::known_complete(stream, epoch);
  });
  return over;
}

// The stream that a live or pending block was handed to (the heap's own where it was lent).
inline stream::StreamState& stream_of(const BackedHeap& heap, heap::BlockId id) {
  return heap.group == nullptr ? *heap.stream : heap.group->stream(heap.heap.pool().note(id).member);
}

}  // namespace gapless::engine

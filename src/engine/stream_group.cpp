// SPDX-License-Identifier: Apache-2.0
#include "engine/stream_group.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace gapless::engine {

using heap::kNoMember;
using heap::MemberId;

void StreamGroup::set_heap(BackedHeap& heap) {
  heap_ = &heap;
  heap.group = this;
}

void StreamGroup::drop_heap() {
  heap_->group = nullptr;
  heap_ = nullptr;
}

MemberId StreamGroup::join(stream::StreamState& stream) {
  const auto place =
      std::find_if(members_.begin(), members_.end(), [](const Member& m) { return m.stream == nullptr; });
  if (place == members_.end()) return kNoMember;
  if (place->used.capacity() == 0)
    place->used =
        base::FlatArray<std::uint32_t>((std::size_t{heap_->heap.capacity().count()} >> heap_->heap.slot_shift()) + 1);
  if (!place->used.grow_to(heap_->slots.slots())) return kNoMember;
  place->stream = &stream;
  return static_cast<MemberId>(place - members_.begin());
}

void StreamGroup::drop(MemberId member) {
  Member& gone = members_[member];
  gone.stream = nullptr;
  std::fill(gone.used.data(), gone.used.data() + gone.used.size(), 0u);
  gone.after = {};
  for (Member& other : members_) other.after[member] = 0;
}

MemberId StreamGroup::find(const stream::StreamKey& key) const {
  for (MemberId m = 0; m < kMostMembers; m++)
    // The handle of a finished stream may name another by now.
    if (has(m) && !stream(m).finished() && stream(m).key() == key) return m;
  return kNoMember;
}

bool StreamGroup::holds(const stream::StreamState& stream) const {
  return std::any_of(members_.begin(), members_.end(), [&](const Member& m) { return m.stream == &stream; });
}

bool StreamGroup::grow_to(std::uint32_t slots) {
  return std::all_of(members_.begin(), members_.end(),
                     [&](Member& m) { return m.stream == nullptr || m.used.grow_to(slots); });
}

void StreamGroup::note_use(MemberId member, std::uint32_t first, std::uint32_t last) {
  Member& user = members_[member];
  std::fill(user.used.data() + first, user.used.data() + last + 1, user.stream->epoch());
}

void StreamGroup::start(MemberId member, std::uint32_t slot) {
  for (MemberId m = 0; m < kMostMembers; m++)
    if (has(m)) members_[m].used[slot] = m == member ? stream(m).epoch() : 0;
}

std::uint32_t StreamGroup::newest(MemberId member, std::uint32_t first, std::uint32_t last) const {
  const std::uint32_t* const used = members_[member].used.data();
  std::uint32_t newest = 0;
  for (std::uint32_t slot = first; slot <= last; slot++) newest = std::max(newest, used[slot]);
  return newest;
}

bool StreamGroup::ordered(MemberId member, std::uint32_t first, std::uint32_t last) const {
  for (MemberId m = 0; m < kMostMembers; m++)
    if (m != member && has(m) && newest(m, first, last) > members_[member].after[m]) return false;
  return true;
}

void StreamGroup::note_order(MemberId member, MemberId other, std::uint32_t epoch) {
  std::uint32_t& after = members_[member].after[other];
  after = std::max(after, epoch);
}

void StreamGroup::renumber() {
  for (Member& member : members_) {
    member.after = {};
    if (member.stream == nullptr) continue;
    for (std::uint32_t* used = member.used.data(); used != member.used.data() + member.used.size(); used++)
      *used = stream::StreamOrder::renumbered(*member.stream, *used);
  }
}

void StreamGroup::validate() const {
  if (heap_ == nullptr) return;
  std::array<std::uint32_t, kMostMembers> live{};
  for (const heap::Span& span : heap_->heap.spans())
    for (heap::BlockId id = span.end > span.first ? heap_->heap.head_of(span) : heap::kNoBlock; id != heap::kNoBlock;
         id = heap_->heap.pool()[id].next) {
      if (heap_->heap.pool()[id].is_free()) continue;
      const MemberId member = heap_->heap.pool().note(id).member;
      GAPLESS_CHECK(1, "G1", member < kMostMembers && has(member));
      live[member]++;
    }
  for (MemberId member = 0; member < kMostMembers; member++) {
    GAPLESS_CHECK(1, "G1", live[member] == members_[member].live);
    if (has(member) && heap_->slots.slots() > 0)
      GAPLESS_CHECK(1, "G1", newest(member, 0, heap_->slots.slots() - 1) <= stream(member).epoch());
  }
}

}  // namespace gapless::engine

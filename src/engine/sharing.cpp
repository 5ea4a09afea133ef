// SPDX-License-Identifier: Apache-2.0
#include "engine/sharing.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

#include "engine/homes.hpp"

namespace gapless::engine {

using heap::kNoMember;
using heap::MemberId;
using stream::StreamOrder;
using stream::StreamState;

namespace {

constexpr auto kLarge = static_cast<std::size_t>(heap::SizeClass::large);

// The slots that a block touches, the last one included.
std::pair<std::uint32_t, std::uint32_t> slots_of(const BackedHeap& heap, heap::BlockId id) {
  const heap::Block& block = heap.heap.pool()[id];
  return {heap.slots.slot_of(block.offset), heap.slots.slot_of(block.offset + block.size - Units(1))};
}

void set_sharing(StreamHome& home, bool on) {
  if (home.shares == on) return;
  if (on)
    home.aside = std::exchange(home.heaps[kLarge], nullptr);
  else
    home.heaps[kLarge] = std::exchange(home.aside, nullptr);
  home.shares = on;
}

}  // namespace

void share_streams(DeviceState& state, bool on) {
  if (state.sharing == on) return;
  const std::lock_guard guard(state.fast);
  state.sharing = on;
  for (const auto& home : state.homes) set_sharing(*home, on);
}

void consider_sharing(DeviceState& state) {
  if (state.options.stream_sharing != config::Toggle::automatic || state.sharing || state.traffic.crossings == 0)
    return;
  {
    const std::lock_guard guard(state.fast);
    state.traffic.allocations = static_cast<std::uint64_t>(state.counters.allocations());
  }
  if (state.sharing_switch.observe(state.traffic)) share_streams(state, true);
}

bool enter_group(DeviceState& state, StreamHome& home, Units size) {
  if (home.member != kNoMember) return true;
  StreamGroup& group = state.group;
  BackedHeap* made = nullptr;
  if (home.thread == 0 && group.heap() == nullptr) {
    Status status;
    made = make_heap(state, *home.stream, heap::SizeClass::large, nullptr, size, status);
  }
  const std::lock_guard guard(state.fast);
  if (made != nullptr) {
    group.set_heap(*made);
    choose_places(state);
  }
  if (home.thread == 0 && group.heap() != nullptr) home.member = group.join(*home.stream);
  if (home.member != kNoMember) {
    // It may have been another's, whose uses this stream comes after (make_heap): to the group they are this stream's.
    if (made != nullptr && made->slots.slots() > 0) group.note_use(home.member, 0, made->slots.slots() - 1);
    return true;
  }
  if (made != nullptr) {
    group.drop_heap();
    retire_heap(state, *made);
  }
  set_sharing(home, false);
  return false;
}

bool order_for_member(DeviceState& state, const BackedHeap& heap, heap::BlockId id, MemberId member) {
  StreamGroup& group = *heap.group;
  StreamState& user = group.stream(member);
  for (MemberId other = 0; other < StreamGroup::kMostMembers; other++) {
    std::uint32_t newest = 0;
    {
      const std::lock_guard guard(state.fast);
      if (other == member || !group.has(other)) continue;
      const auto [first, last] = slots_of(heap, id);
      // A slot that is still to be backed gets memory with a history of its own.
      for (std::uint32_t slot = first; slot <= last; slot++)
        if (heap.slots.ok(slot)) newest = std::max(newest, group.newest(other, slot, slot));
    }
    StreamState& used_by = group.stream(other);
    if (newest > StreamOrder::ordered_up_to(user, used_by)) {
      if (StreamOrder::is_closed(used_by, newest)) state.order.poll(used_by);
      if (!state.order.order_after(user, used_by, newest)) return false;
    }
    const std::lock_guard guard(state.fast);
    group.note_order(member, other, StreamOrder::ordered_up_to(user, used_by));
  }
  return true;
}

bool ready(const BackedHeap& heap, heap::BlockId id, const StreamHome& home) {
  const heap::Block& block = heap.heap.pool()[id];
  if (!heap.slots.backed(block.offset, block.size)) return false;
  if (heap.group == nullptr) return true;
  const auto [first, last] = slots_of(heap, id);
  return home.member != kNoMember && heap.group->ordered(home.member, first, last);
}

void hand_out(BackedHeap& heap, heap::BlockId id, MemberId member) {
  heap.heap.pool()[id].flags |= heap::kShared;
  heap.heap.pool().note(id).member = member;
  heap.group->hand_out(member);
}

void release_block(BackedHeap& heap, heap::BlockId id) {
  if (heap.group != nullptr) {
    const MemberId member = heap.heap.pool().note(id).member;
    const auto [first, last] = slots_of(heap, id);
    heap.group->note_use(member, first, last);
    heap.group->take_back(member);
  }
  heap.heap.free(id, heap.stream->epoch());
}

bool note_member_uses(const DeviceState& state, BackedHeap& heap, heap::BlockId id) {
  StreamGroup& group = *heap.group;
  const std::vector<Use>& uses = state.uses[heap.heap.pool().note(id).uses];
  const auto is_member = [&](const Use& use) { return use.event == nullptr && group.find(use.stream) != kNoMember; };
  if (!std::all_of(uses.begin(), uses.end(), is_member)) return false;
  const auto [first, last] = slots_of(heap, id);
  for (const Use& use : uses) group.note_use(group.find(use.stream), first, last);
  return true;
}

void reap_members(DeviceState& state) {
  StreamGroup& group = state.group;
  for (MemberId member = 0; member < StreamGroup::kMostMembers; member++) {
    if (!group.has(member)) continue;
    StreamState& stream = group.stream(member);
    if (!stream.finished()) continue;
    state.order.poll(stream);
    const std::lock_guard guard(state.fast);
    if (group.live(member) == 0 && StreamOrder::known_complete(stream, stream.epoch())) group.drop(member);
  }
}

}  // namespace gapless::engine

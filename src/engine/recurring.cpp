// SPDX-License-Identifier: Apache-2.0
#include "engine/recurring.hpp"

#include <algorithm>
#include <mutex>
#include <optional>

#include "engine/ladder.hpp"
#include "engine/places.hpp"
#include "policy/growth.hpp"

namespace gapless::engine {

// The moment of a miss that moves granules, where stepping aside is possible at all.
std::optional<Moment> Ladder::moment_of(const Request& request, BackedHeap& heap, heap::BlockId id) {
  if (!state_.options.step_aside || heap.pool != nullptr || heap.group != nullptr) return std::nullopt;
  const std::lock_guard guard(state_.fast);
  const std::uint64_t live = state_.counters.live_bytes();
  const std::uint64_t peak = std::max(state_.counters.peak_live(), live + request.size.bytes());
  const Units offset = heap.heap.pool()[id].offset;
  if (policy::may_create(state_.physical, peak, state_.options.slack, state_.limit, state_.granule) > 0 ||
      backing_.free_of_cost(heap, offset, request.size))
    return std::nullopt;
  // Streams that trade granules change what is backed where; a place that is left then costs more than it saves.
  for (const auto& other : state_.heaps)
    if (other.get() != &heap && other->size_class() == heap.size_class() && other->trades()) return std::nullopt;
  return Moment{live, request.size, offset, static_cast<std::uint64_t>(state_.counters.moves) * state_.granule};
}

// A miss that would move granules, and did so or will in other steps, does; elsewhere the place that the sequence of
// requests gives is the better one (docs/adr/0002). Small blocks leave a place that is not backed at once: a granule
// that theirs take from the large ones is missed there, and what they gain by a settled layout of their own is little.
bool Ladder::should_step_aside(const BackedHeap& heap, const std::optional<Moment>& moment, unsigned met) const {
  if (heap.size_class() == heap::SizeClass::small) return state_.options.step_aside && heap.pool == nullptr;
  return moment && (met > 0 || recurring_.comes_round()) && !recurring_.left_in_vain(*moment);
}

namespace {

// The middle of a free block makes two of it, for which others miss: that pays where a third of the slots under the
// block or more would have to be backed (docs/adr/0006).
bool a_third_unbacked(const BackedHeap& heap, heap::BlockId id) {
  const heap::Block& block = heap.heap.pool()[id];
  const std::uint32_t first = heap.slots.slot_of(block.offset);
  const std::uint32_t last = heap.slots.slot_of(block.offset + block.size - Units(1));
  std::uint32_t unbacked = 0;
  for (std::uint32_t slot = first; slot <= last; slot++) unbacked += !heap.slots.ok(slot);
  return 3 * unbacked >= last - first + 1;
}

}  // namespace

// The block goes to a free place that is wholly backed, if there is one: no driver call, and another layout from here
// on.
bool Ladder::step_aside(const Request& request, BackedHeap& heap, HeldPlace& held, Granted& out) {
  const std::lock_guard guard(state_.fast);
  Place place = backed_end(heap, request.size);
  if (place.free_block == heap::kNoBlock && heap.size_class() == heap::SizeClass::large &&
      a_third_unbacked(heap, held.block()))
    place = backed_middle(heap, request.size);
  if (place.free_block == heap::kNoBlock) return false;
  const heap::BlockId aside = heap.heap.place_at(place.free_block, place.offset, request.size);
  if (aside == heap::kNoBlock) return false;
  heap.heap.unplace(held.let_go());
  grant(request, heap, aside, out);
  return true;
}

}  // namespace gapless::engine

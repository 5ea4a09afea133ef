// SPDX-License-Identifier: Apache-2.0
// The rungs that look for a place: in the request's heap, in one that streams share, in another stream's.
#include <algorithm>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/homes.hpp"
#include "engine/ladder.hpp"
#include "engine/notify.hpp"
#include "engine/pending.hpp"
#include "engine/places.hpp"
#include "engine/sharing.hpp"
#include "policy/growth.hpp"

namespace gapless::engine {

void Ladder::grant(const Request& request, BackedHeap& heap, heap::BlockId id, Granted& out) noexcept {
  heap::Block& block = heap.heap.pool()[id];
  block.set_requested(request.requested);
  if (heap.group != nullptr) hand_out(heap, id, heap.group->find(stream::key_of(request.stream)));
  state_.counters.on_alloc(heap.size_class(), block.size, request.requested);
  if (state_.counters.any_pending()) state_.counters.follow_active_peak();
  note_birth(state_, heap, id);
  note_block(state_, GAPLESS_EVENT_ALLOC, heap, id);
  out = Granted{&heap, id};
}

// A place in `heap`, or else in the request's own heap, which is made and grown as needed. `block` is live but not
// counted.
Ladder::Step Ladder::place(const Request& request, StreamHome& home, BackedHeap*& heap, heap::BlockId& block) {
  BackedHeap*& own = home.shares && request.size_class == heap::SizeClass::large
                         ? home.aside
                         : home.heaps[static_cast<std::size_t>(request.size_class)];
  if (heap == nullptr) heap = request.pool ? request.pool->find(*home.stream, request.size_class) : own;
  if (heap == nullptr) {
    if (request.pool) request.pool->heaps.reserve(request.pool->heaps.size() + 1);
    heap = make_heap(state_, *home.stream, request.size_class, request.pool.get(), request.size, failure_);
    if (heap == nullptr) return failure_ == Status::out_of_memory ? Step::no_memory : Step::failed;
    const std::lock_guard guard(state_.fast);
    if (request.pool)
      request.pool->heaps.push_back(heap);
    else
      own = heap;
  }
  for (int attempt = 0;; attempt++) {
    {
      const std::lock_guard guard(state_.fast);
      block = heap->heap.place(request.size);
    }
    if (block != heap::kNoBlock) return Step::done;
    if (attempt == 1) return Step::no_memory;
    failure_ = add_span(state_, *heap, request.size);
    if (failure_ == Status::out_of_memory) return Step::no_memory;
    if (failure_ != Status::ok) return Step::failed;
  }
}

Ladder::Step Ladder::back(const Request& request, StreamHome& home, BackedHeap& heap, HeldPlace& held, bool capturing,
                          Granted& out, unsigned met) {
  const Units offset = heap.heap.pool()[held.block()].offset;
  const bool ordered = heap.group == nullptr || order_for_member(state_, heap, held.block(), home.member);
  unordered_ = unordered_ || !ordered;
  Backed backed = Backed::no_memory;
  if (ordered)
    backed = heap.slots.backed(offset, request.size)
                 ? Backed::yes
                 : backing_.back(heap, offset, request.size, *home.stream, capturing, met);
  if (backed == Backed::yes) {
    if (heap.pool != nullptr && heap.pool->captured) pools_.pin(heap, offset, request.size);
    const std::lock_guard guard(state_.fast);
    grant(request, heap, held.let_go(), out);
    return Step::done;
  }
  failure_ = Status::driver;
  return backed == Backed::no_memory ? Step::no_memory : Step::failed;
}

// Another stream's free block that is wholly backed costs a wait edge instead of driver calls.
Ladder::Step Ladder::lend(const Request& request, StreamHome& home, BackedHeap& heap, HeldPlace& held, Granted& out) {
  if (!state_.options.lending || heap.pool != nullptr || heap.group != nullptr) return Step::no_memory;
  BackedHeap* lender = nullptr;
  heap::BlockId lent = heap::kNoBlock;
  std::uint32_t stamp = 0;
  {
    const std::lock_guard guard(state_.fast);
    const std::uint64_t peak =
        std::max(state_.counters.peak_live(), state_.counters.live_bytes() + request.size.bytes());
    if (policy::may_create(state_.physical, peak, state_.options.slack, state_.limit, state_.granule) > 0)
      return Step::no_memory;
    Units best(~0u);
    heap::BlockId found = heap::kNoBlock;
    for (const auto& other : state_.heaps) {
      if (other->size_class() != heap.size_class() || !other->trades() || other->stream == home.stream ||
          other->group != nullptr)
        continue;
      const heap::BlockId free_block = other->heap.peek(request.size);
      if (free_block == heap::kNoBlock) continue;
      const heap::Block& block = other->heap.pool()[free_block];
      if (block.size < best && other->slots.backed(block.offset, request.size)) {
        best = block.size;
        lender = other.get();
        found = free_block;
      }
    }
    if (lender == nullptr || backing_.free_of_cost(heap, heap.heap.pool()[held.block()].offset, request.size))
      return Step::no_memory;
    stamp = state_.blocks[found].stamp;
    lent = lender->heap.place_at(found, state_.blocks[found].offset, request.size);
    if (lent == heap::kNoBlock) return Step::no_memory;
  }
  HeldPlace offered(state_, *lender, lent);
  if (!state_.order.order_after(*home.stream, *lender->stream, stamp)) return Step::no_memory;
  const std::lock_guard guard(state_.fast);
  add_use(state_, lent, home.stream->key());
  heap.heap.unplace(held.let_go());
  offered.let_go();
  state_.blocks[lent].flags |= heap::kLent;
  state_.counters.lends++;
  state_.traffic.crossings++;
  grant(request, *lender, lent, out);
  return Step::done;
}

// The place that was found, with granules moved to it, or one that is better since it is backed already.
Ladder::Step Ladder::back_or_leave(const Request& request, StreamHome& home, BackedHeap& heap, HeldPlace& held,
                                   bool capturing, Granted& out) {
  if (!capturing && lend(request, home, heap, held, out) == Step::done) return Step::done;
  const std::optional<Moment> moment = moment_of(request, heap, held.block());
  const unsigned met = moment ? recurring_.meet(*moment) : 0;
  if (should_step_aside(heap, moment, met) && step_aside(request, heap, held, out)) {
    // Whether it was in vain is asked of large blocks only.
    if (moment && heap.size_class() == heap::SizeClass::large) recurring_.stepped_aside(*moment);
    return Step::done;
  }
  const Step step = back(request, home, heap, held, capturing, out, met);
  if (step == Step::done && moment) recurring_.moved_granules(*moment);
  return step;
}

// Free places of the heap, the one that needs the fewest granules first.
Ladder::Step Ladder::try_other_places(const Request& request, StreamHome& home, BackedHeap& heap, bool capturing,
                                      Granted& out) {
  std::vector<Place> places;
  {
    const std::lock_guard guard(state_.fast);
    places = places_for(heap.heap, request.size);
  }
  const std::uint64_t obtainable = obtainable_granules(state_, capturing);
  for (const Place& place : places) {
    if (place.granules > obtainable) break;
    heap::BlockId id;
    {
      const std::lock_guard guard(state_.fast);
      id = take_place(heap.heap, place, request.size);
    }
    if (id == heap::kNoBlock) continue;  // somebody's hit landed there
    HeldPlace held(state_, heap, id);
    if (const Step step = back(request, home, heap, held, capturing, out); step != Step::no_memory) return step;
  }
  return Step::no_memory;
}

// Null: not in the shared heap.
Ladder::Step Ladder::try_in(const Request& request, StreamHome& home, BackedHeap* shared, bool capturing,
                            Granted& out) {
  BackedHeap* heap = shared;
  heap::BlockId block = heap::kNoBlock;
  if (const Step step = place(request, home, heap, block); step != Step::done) return step;
  {
    HeldPlace held(state_, *heap, block);
    {
      const std::lock_guard guard(state_.fast);
      if (ready(*heap, block, home)) {
        grant(request, *heap, held.let_go(), out);
        return Step::done;
      }
    }
    if (const Step step = back_or_leave(request, home, *heap, held, capturing, out); step != Step::no_memory)
      return step;
  }
  return try_other_places(request, home, *heap, capturing, out);
}

Ladder::Step Ladder::try_once(const Request& request, StreamHome& home, bool capturing, Granted& out) {
  // What a capture may use cannot be ordered now: it gets memory of its own stream.
  const bool share = home.shares && request.size_class == heap::SizeClass::large && !request.pool && !capturing;
  if (share && enter_group(state_, home, request.size)) {
    unordered_ = false;
    const Step step = try_in(request, home, state_.group.heap(), capturing, out);
    // Its own heap has places that share a granule with live blocks, where that was used before streams shared one.
    if (step != Step::no_memory || (!unordered_ && home.aside == nullptr)) return step;
  }
  return try_in(request, home, nullptr, capturing, out);
}

}  // namespace gapless::engine

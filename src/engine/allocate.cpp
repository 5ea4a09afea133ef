// SPDX-License-Identifier: Apache-2.0
// Allocating and freeing off the hit path: misses, and what the hit path leaves out.
#include <cstdio>
#include <mutex>
#include <utility>

#include "engine/device_allocator.hpp"
#include "engine/forked.hpp"
#include "engine/pending.hpp"
#include "engine/segments.hpp"
#include "engine/sharing.hpp"

namespace gapless::engine {

Status DeviceAllocator::unknown_pointer(std::uint64_t address) {
  char text[64];
  std::snprintf(text, sizeof text, "%#llx is not the start of a live block", static_cast<unsigned long long>(address));
  return base::fail(Status::unknown_pointer, text);
}

Status DeviceAllocator::finish_climb(Status status, const Granted& granted, void** out) {
  std::uint64_t address = 0;
  if (status == Status::ok) {
    address = granted.heap->address_of(granted.block);
    *out = reinterpret_cast<void*>(address);
  }
  deliver(state_, address);
  return status;
}

Status DeviceAllocator::climb(Request request, void** out) {
  if ((state_.attention.load(std::memory_order_relaxed) & kForked) != 0) return forked_child();
  Granted granted;
  return finish_climb(ladder_.climb(request, granted), granted, out);
}

Status DeviceAllocator::allocate_missed(driver::Stream stream, std::uint64_t bytes, Units size, void** out) {
  const auto size_class = static_cast<heap::SizeClass>(size > heap::kLargestSmall);
  Request request{stream, bytes, size, size_class, nullptr};
  return size_class == heap::SizeClass::large ? allocate_shared(std::move(request), out)
                                              : climb(std::move(request), out);
}

// A large block that the stream's own heap does not give: the hit path of streams that share a heap.
Status DeviceAllocator::allocate_shared(Request request, void** out) {
  state_.fast.lock();
  const StreamHome* const home = find_home(state_, request.stream);
  const heap::BlockId id = home != nullptr && home->shares && home->member != heap::kNoMember
                               ? state_.group.heap()->heap.place(request.size)
                               : heap::kNoBlock;
  if (id == heap::kNoBlock) {
    state_.fast.unlock();
    return climb(std::move(request), out);
  }
  BackedHeap& heap = *state_.group.heap();
  if (!ready(heap, id, *home)) return allocate_unbacked(request.stream, request.requested, request.size, heap, id, out);
  heap::Block& block = state_.blocks[id];
  hand_out(heap, id, home->member);
  block.set_requested(request.requested);
  state_.counters.on_alloc(heap::SizeClass::large, block.size, request.requested);
  note_birth(state_, heap, id);
  *out = reinterpret_cast<void*>(heap.address_of(id));
  state_.fast.unlock();
  return Status::ok;
}

// The fast lock is held; `block` is live and not counted.
Status DeviceAllocator::allocate_unbacked(driver::Stream stream, std::uint64_t bytes, Units size, BackedHeap& heap,
                                          heap::BlockId block, void** out) {
  if (!state_.map.try_lock()) {
    // Another miss is under way. A block that waits for it would hold places that it may need: put it back and queue.
    heap.heap.unplace(block);
    state_.fast.unlock();
    return climb(Request{stream, bytes, size, heap.size_class(), nullptr}, out);
  }
  state_.fast.unlock();
  Granted granted;
  return finish_climb(
      ladder_.climb_from(Request{stream, bytes, size, heap.size_class(), nullptr}, heap, block, granted), granted, out);
}

// Somebody listens, blocks are pending, a scope is open, sizes are rounded: all that the hit path leaves out.
Status DeviceAllocator::allocate_attended(driver::Stream stream, std::uint64_t bytes, void** out) {
  const Status status = allocate_routed(stream, bytes, out);
  // The pool that it was routed to may have lost its last use meanwhile: it was waiting for the end of this request.
  // Nobody waits for another's driver call to do it: the next one will.
  if (pools_.reap_waits() && state_.map.try_lock()) {
    pools_.reap();
    state_.map.unlock();
    say_farewells(state_);
  }
  return status;
}

Status DeviceAllocator::allocate_routed(driver::Stream stream, std::uint64_t bytes, void** out) {
  const std::uint32_t attention = state_.attention.load(std::memory_order_relaxed);
  if ((attention & kPendingFrees) != 0 && (attention & kForked) == 0) poll_pending(state_);
  Request request{stream, bytes, Units(), heap::SizeClass::small, nullptr};
  const bool too_large = bytes > policy::kLargestRequest;
  std::uint64_t rounded = too_large ? policy::kLargestRequest : bytes;
  {
    const std::lock_guard guard(state_.fast);
    rounded = policy::round_size(rounded, state_.options.roundup_power2_divisions);
  }
  request.size = units_of(rounded);
  request.size_class = static_cast<heap::SizeClass>(request.size > heap::kLargestSmall);
  if ((attention & kScopes) != 0) request.pool = pools_.route(stream);
  expect_events(state_, 0);

  std::uint64_t address = 0;
  {
    std::unique_lock guard(state_.fast);
    if ((attention & kInjecting) != 0)
      request.injected = state_.injector.fires(state_.marks, state_.counters.allocations(), bytes);
    StreamHome* const home = find_home(state_, stream);
    BackedHeap* heap = nullptr;
    // A pool is asked on the slow path first whether the stream captures; from then on hits are hits.
    if (home != nullptr && !request.pool) heap = home->heaps[static_cast<std::size_t>(request.size_class)];
    if (home != nullptr && !request.pool && home->shares && home->member != heap::kNoMember &&
        request.size_class == heap::SizeClass::large)
      heap = state_.group.heap();
    if (home != nullptr && request.pool && request.pool->captured && !request.pool->has_source)
      heap = request.pool->find(*home->stream, request.size_class);
    const bool try_it = heap != nullptr && !too_large && !request.injected;
    const heap::BlockId id = try_it ? heap->heap.place(request.size) : heap::kNoBlock;
    if (id != heap::kNoBlock) {
      heap::Block& block = state_.blocks[id];
      if (ready(*heap, id, *home)) {
        if (heap->group != nullptr) hand_out(*heap, id, home->member);
        block.set_requested(bytes);
        state_.counters.on_alloc(request.size_class, block.size, bytes);
        if (state_.counters.any_pending()) state_.counters.follow_active_peak();
        note_block(state_, GAPLESS_EVENT_ALLOC, *heap, id);
        address = heap->address_of(id);
        note_birth(state_, *heap, id);
      } else if (!request.pool && !state_.counters.any_pending() && (attention & kForked) == 0) {
        // Who listens sees what happens without them: from here on the miss is the hit path's, and so is the lock.
        guard.release();
        return allocate_unbacked(stream, bytes, request.size, *heap, id, out);
      } else {
        // Frees that are over by now may leave a better place, a pool is to be kept meanwhile, and a forked child
        // fails.
        heap->heap.unplace(id);
      }
    }
  }
  if (address == 0) return climb(std::move(request), out);
  *out = reinterpret_cast<void*>(address);
  deliver(state_, address);
  return Status::ok;
}

// The fast lock is held.
Status DeviceAllocator::deallocate_attended(BackedHeap& heap, heap::BlockId id) {
  DeviceState& s = state_;
  heap::Block& block = s.blocks[id];
  s.counters.on_free(heap.size_class(), block.size, block.requested());
  note_block(s, GAPLESS_EVENT_FREE_REQUESTED, heap, id);
  note_death(s, heap, id);
  const bool forked = (s.attention.load(std::memory_order_relaxed) & kForked) != 0;
  const bool shared = (block.flags & (heap::kShared | heap::kUsed)) == (heap::kShared | heap::kUsed);
  if ((block.flags & heap::kUsed) == 0 || forked || (shared && note_member_uses(s, heap, id))) {
    static_cast<void>(take_uses(s, id));
    note_free_completed(s, heap, id);
    release_block(heap, id);
    s.fast.unlock();
    if (!forked) deliver(s);
    return Status::ok;
  }
  block.state = heap::BlockState::pending;
  const bool lent = (block.flags & heap::kLent) != 0;
  s.counters.on_pending(heap.size_class(), block.size, 1);
  Uses uses = take_uses(s, id);
  s.fast.unlock();
  begin_pending(s, heap, id, std::move(uses), lent);
  deliver(s);
  return Status::ok;
}

}  // namespace gapless::engine

// SPDX-License-Identifier: Apache-2.0
#include "engine/ladder.hpp"

#include <algorithm>

#include "engine/homes.hpp"
#include "engine/notify.hpp"
#include "engine/oom.hpp"
#include "engine/pending.hpp"
#include "engine/places.hpp"
#include "engine/renumber.hpp"
#include "engine/segments.hpp"
#include "policy/growth.hpp"

namespace gapless::engine {

namespace {

// A request made by an OOM hook that cannot be met fails at once.
thread_local bool inside_hook = false;

// Answers of hooks that are believed, each with progress, before a request is given up.
constexpr std::uint32_t kMostAttempts = 64;

class InsideHook {
 public:
  InsideHook() { inside_hook = true; }
  ~InsideHook() { inside_hook = false; }
  InsideHook(const InsideHook&) = delete;
  InsideHook& operator=(const InsideHook&) = delete;
};

// The pools whose source this thread is asking: memory that the source wants for itself may not come from there.
class Asking {
 public:
  explicit Asking(const PrivatePool& pool) : pool_(&pool), outer_(innermost) { innermost = this; }
  ~Asking() { innermost = outer_; }
  Asking(const Asking&) = delete;
  Asking& operator=(const Asking&) = delete;
  static bool already(const PrivatePool& pool) {
    for (const Asking* one = innermost; one != nullptr; one = one->outer_)
      if (one->pool_ == &pool) return true;
    return false;
  }

 private:
  const PrivatePool* const pool_;
  const Asking* const outer_;
  static thread_local const Asking* innermost;
};
thread_local const Asking* Asking::innermost = nullptr;

}  // namespace

void Ladder::grant(const Request& request, BackedHeap& heap, heap::BlockId id, Granted& out) {
  heap::Block& block = heap.heap.pool()[id];
  block.set_requested(request.requested);
  state_.counters.on_alloc(heap.size_class(), block.size, request.requested);
  if (state_.counters.any_pending()) state_.counters.follow_active_peak();
  note_birth(state_, heap, id);
  note_block(state_, GAPLESS_EVENT_ALLOC, heap, id);
  out = Granted{&heap, id};
}

// A place in the request's heap, which is made and grown as needed. `block` is live but not counted.
Ladder::Step Ladder::place(const Request& request, StreamHome& home, BackedHeap*& heap, heap::BlockId& block) {
  heap = request.pool ? request.pool->find(*home.stream, request.size_class)
                      : home.heaps[static_cast<std::size_t>(request.size_class)];
  if (heap == nullptr) {
    heap = make_heap(state_, *home.stream, request.size_class, request.pool.get(), request.size, failure_);
    if (heap == nullptr) return failure_ == Status::out_of_memory ? Step::no_memory : Step::failed;
    const std::lock_guard guard(state_.fast);
    if (request.pool)
      request.pool->heaps.push_back(heap);
    else
      home.heaps[static_cast<std::size_t>(request.size_class)] = heap;
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

Ladder::Step Ladder::back_or_take_back(const Request& request, BackedHeap& heap, heap::BlockId id, bool capturing,
                                       Granted& out) {
  const Units offset = heap.heap.pool()[id].offset;
  const Backed backed = backing_.back(heap, offset, request.size, capturing);
  if (backed == Backed::yes) {
    if (heap.pool != nullptr && heap.pool->captured) pools_.pin(heap, offset, request.size);
    const std::lock_guard guard(state_.fast);
    note_event(state_, GAPLESS_EVENT_SEGMENT_MAP, heap, heap.address_of(id), request.size.bytes(), 0);
    grant(request, heap, id, out);
    return Step::done;
  }
  {
    const std::lock_guard guard(state_.fast);
    heap.heap.unplace(id);
  }
  failure_ = Status::driver;
  return backed == Backed::no_memory ? Step::no_memory : Step::failed;
}

// Another stream's free block that is wholly backed costs a wait edge instead of driver calls.
Ladder::Step Ladder::lend(const Request& request, BackedHeap& heap, heap::BlockId id, Granted& out) {
  if (!state_.options.lending || heap.pool != nullptr) return Step::no_memory;
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
      if (other->size_class() != heap.size_class() || other->pool != nullptr || other->stream == heap.stream ||
          other->space == vmm::kNoSpace)
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
    if (lender == nullptr || backing_.free_of_cost(heap, heap.heap.pool()[id].offset, request.size))
      return Step::no_memory;
    stamp = state_.blocks[found].stamp;
    lent = lender->heap.place_at(found, state_.blocks[found].offset, request.size);
    if (lent == heap::kNoBlock) return Step::no_memory;
  }
  const bool ordered = state_.order.order_after(*heap.stream, *lender->stream, stamp);
  const std::lock_guard guard(state_.fast);
  if (!ordered) {
    lender->heap.unplace(lent);
    return Step::no_memory;
  }
  heap.heap.unplace(id);
  add_use(state_, lent, heap.stream->key());
  state_.blocks[lent].flags |= heap::kLent;
  state_.counters.lends++;
  grant(request, *lender, lent, out);
  return Step::done;
}

// Free places of the heap, the one that needs the fewest granules first.
Ladder::Step Ladder::try_other_places(const Request& request, BackedHeap& heap, bool capturing, Granted& out) {
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
    if (const Step step = back_or_take_back(request, heap, id, capturing, out); step != Step::no_memory) return step;
  }
  return Step::no_memory;
}

Ladder::Step Ladder::try_once(const Request& request, StreamHome& home, bool capturing, Granted& out) {
  BackedHeap* heap = nullptr;
  heap::BlockId block = heap::kNoBlock;
  if (const Step step = place(request, home, heap, block); step != Step::done) return step;
  {
    const std::lock_guard guard(state_.fast);
    if (heap->slots.backed(heap->heap.pool()[block].offset, request.size)) {
      grant(request, *heap, block, out);
      return Step::done;
    }
  }
  if (!capturing && lend(request, *heap, block, out) == Step::done) return Step::done;
  if (const Step step = back_or_take_back(request, *heap, block, capturing, out); step != Step::no_memory) return step;
  return try_other_places(request, *heap, capturing, out);
}

// The free memory of pools that offered it for this moment.
Ladder::Step Ladder::try_pools_on_oom(const Request& request, StreamHome& home, Granted& out) {
  if (request.pool) return Step::no_memory;
  for (const auto& pool : pools_.all()) {
    if (!pool->use_on_oom) continue;
    BackedHeap* const heap = pool->find(*home.stream, request.size_class);
    if (heap == nullptr) continue;
    const std::lock_guard guard(state_.fast);
    const heap::BlockId free_block = heap->heap.peek(request.size);
    if (free_block == heap::kNoBlock) continue;
    const Units offset = heap->heap.pool()[free_block].offset;
    if (!heap->slots.backed(offset, request.size)) continue;
    const heap::BlockId id = heap->heap.place_at(free_block, offset, request.size);
    if (id == heap::kNoBlock) continue;
    grant(request, *heap, id, out);
    return Step::done;
  }
  return Step::no_memory;
}

Ladder::Step Ladder::grow_from_source(const Request& request, std::unique_lock<base::MapLock>& map, Granted& out) {
  PrivatePool& pool = *request.pool;
  // Not kept over the source's call, which may forget the stream.
  const auto asking = [&]() -> stream::StreamState& { return *home_of(state_, request.stream).stream; };
  const auto take = [&]() {
    BackedHeap* const heap = pool.find(asking(), request.size_class);
    if (heap == nullptr) return false;
    const std::lock_guard guard(state_.fast);
    const heap::BlockId free_block = heap->heap.peek(request.size);
    if (free_block == heap::kNoBlock) return false;
    const heap::Block block = heap->heap.pool()[free_block];
    const heap::BlockId id = heap->heap.place_at(free_block, block.offset, pool.no_split ? block.size : request.size);
    if (id == heap::kNoBlock) return false;
    grant(request, *heap, id, out);
    return true;
  };
  if (take()) return Step::done;
  if (Asking::already(pool)) {
    failure_ = base::fail(Status::busy, "the pool's source asks for memory of its own pool");
    return Step::failed;
  }
  const gapless_segment_source source = pool.source;
  const std::uint64_t bytes = segment_bytes(request.size.bytes(), state_.options.pytorch.large_segment_size);
  // The source may call back into gapless.
  map.unlock();
  void* segment = nullptr;
  {
    const Asking here(pool);
    segment = source.allocate(source.user, state_.device, request.stream, bytes);
  }
  map.lock();
  if (segment == nullptr) return Step::no_memory;
  failure_ = add_segment(state_, pool, asking(), request.size_class, segment, bytes);
  if (failure_ != Status::ok) {
    map.unlock();
    if (source.deallocate != nullptr) source.deallocate(source.user, state_.device, segment, bytes);
    map.lock();
    return Step::no_memory;
  }
  return take() ? Step::done : Step::no_memory;
}

Status Ladder::climb_locked(const Request& request, std::unique_lock<base::MapLock>& map, Granted& out) {
  backing_.rungs = {};
  // Beyond the largest block there is nothing to look for, but a record is owed.
  const bool fits = request.requested <= request.size.bytes();
  for (std::uint32_t attempt = 0;; attempt++) {
    const bool injected = request.injected && attempt == 0;
    const bool possible = fits && !injected;
    reap_orphans(state_);
    // Looked up anew each time: the callback of a source may forget the stream.
    const auto home = [&]() -> StreamHome& { return home_of(state_, request.stream); };
    const bool capturing = state_.order.capturing(*home().stream);
    if (request.pool) {
      pools_.keep(request.pool);
      if (capturing) pools_.mark_captured(*request.pool);
    }
    const auto once = [&] {
      return request.pool && request.pool->has_source ? grow_from_source(request, map, out)
                                                      : try_once(request, home(), capturing, out);
    };
    settle_pending(state_, Settle::order);
    Step step = possible ? once() : Step::no_memory;
    if (step == Step::no_memory && possible && settle_pending(state_, Settle::wait) > 0) {
      state_.counters.alloc_retries++;
      step = once();
    }
    if (step == Step::no_memory && possible && !capturing) {
      static_cast<void>(wait_for_everything(state_));
      state_.counters.alloc_retries++;
      settle_pending(state_, Settle::wait);
      if (release_all_empty_segments(state_, pools_) > 0) {
        // The sources give it to the device before it is asked again.
        map.unlock();
        say_farewells(state_);
        map.lock();
      }
      step = once();
    }
    if (step == Step::no_memory && possible) step = try_pools_on_oom(request, home(), out);
    if (step == Step::done) return Status::ok;
    if (step == Step::failed) return failure_;

    gapless_oom_record record{};
    fill_record(request, capturing, record);
    if (injected) record.verdict = GAPLESS_OOM_INJECTED;
    record.attempt = attempt;
    const ProgressMark before = progress_mark(state_);
    map.unlock();
    say_farewells(state_);
    gapless_oom_answer answer = GAPLESS_OOM_GIVE_UP;
    if (OomHook* const hook = state_.shared.oom_hook.load(std::memory_order_acquire)) {
      hook->complete(record);
      if (!inside_hook && !capturing && fits && attempt < kMostAttempts) {
        const InsideHook inside;
        answer = hook->ask(record);
      }
    }
    map.lock();
    const bool again = answer == GAPLESS_OOM_TRY_AGAIN && progressed(before, progress_mark(state_));
    if (again) continue;
    {
      const std::lock_guard guard(oom_lock_);
      record.sequence = ++ooms_;
      last_oom_ = record;
      any_oom_ = true;
    }
    const std::lock_guard guard(state_.fast);
    state_.counters.ooms++;
    state_.marks.failed = true;
    note_oom(state_, request.stream, record);
    return base::fail(Status::out_of_memory, oom_text(record));
  }
}

Status Ladder::climb(const Request& request, Granted& out) {
  const RelaxedCapture relaxed(state_.ops);
  std::unique_lock map(state_.map);
  renumber_epochs(state_);
  return climb_locked(request, map, out);
}

Status Ladder::climb_from(const Request& request, BackedHeap& heap, heap::BlockId block, Granted& out) {
  const RelaxedCapture relaxed(state_.ops);
  std::unique_lock map(state_.map, std::adopt_lock);
  renumber_epochs(state_);
  backing_.rungs = {};
  // The usual miss: nothing is pending, the place stays as it is.
  const bool capturing = state_.order.capturing(*heap.stream);
  settle_pending(state_, Settle::order);
  if (!capturing && lend(request, heap, block, out) == Step::done) return Status::ok;
  const std::optional<Moment> moment = moment_of(request, heap, block);
  const unsigned met = moment ? recurring_.times(*moment) : 0;
  if (met > 0 && step_aside(request, heap, block, out)) return Status::ok;
  backing_.more_slack = met >= policy::kSettlingPatience ? policy::kSettlingSlack : 0;
  const Step step = back_or_take_back(request, heap, block, capturing, out);
  switch (backing_.more_slack = 0; step) {
    case Step::done:
      if (moment) recurring_.remember(*moment);
      return Status::ok;
    case Step::failed:
      return failure_;
    case Step::no_memory:
      break;
  }
  return climb_locked(request, map, out);
}

bool Ladder::last_oom(gapless_oom_record& out) {
  const std::lock_guard guard(oom_lock_);
  if (any_oom_) out = last_oom_;
  return any_oom_;
}

void Ladder::fill_record(const Request& request, bool capturing, gapless_oom_record& record) {
  record.struct_size = sizeof record;
  record.device = state_.device;
  record.stream = request.stream;
  if (request.pool) record.pool = request.pool->id;
  record.requested_bytes = request.requested;
  record.rounded_bytes = request.size.bytes();
  record.largest_obtainable_bytes = largest_obtainable(request.stream, request.pool.get());
  describe_oom(state_, capturing, record);
  std::copy(backing_.rungs.begin(), backing_.rungs.end(), record.freed_by_rung);
}

std::uint64_t Ladder::largest_obtainable(driver::Stream stream, const PrivatePool* pool) {
  const BackedHeap* heaps[2] = {};
  {
    const std::lock_guard guard(state_.fast);
    if (const StreamHome* const home = find_home(state_, stream))
      for (const heap::SizeClass each : {heap::SizeClass::small, heap::SizeClass::large})
        heaps[static_cast<std::size_t>(each)] =
            pool != nullptr ? pool->find(*home->stream, each) : home->heaps[static_cast<std::size_t>(each)];
  }
  if (pool != nullptr && pool->has_source) {
    // What a source would give is not known before it is asked: the pool's own free memory is certain.
    const std::lock_guard guard(state_.fast);
    std::uint64_t most = 0;
    for (const BackedHeap* const heap : heaps)
      if (heap != nullptr) most = std::max(most, largest_free(heap->heap));
    return most;
  }
  const std::uint64_t granules = obtainable_granules(state_, false);
  const std::lock_guard guard(state_.fast);
  std::uint64_t most = heaps[1] != nullptr ? largest_place(heaps[1]->heap, granules) : granules * state_.granule;
  if (heaps[0] != nullptr)
    most = std::max(most, std::min(largest_place(heaps[0]->heap, granules), heap::kLargestSmall.bytes()));
  return most;
}

}  // namespace gapless::engine

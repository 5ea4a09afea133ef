// SPDX-License-Identifier: Apache-2.0
#include "engine/ladder.hpp"

#include "engine/exports.hpp"
#include "engine/homes.hpp"
#include "engine/oom.hpp"
#include "engine/pending.hpp"
#include "engine/renumber.hpp"
#include "engine/segments.hpp"
#include "engine/sharing.hpp"

namespace gapless::engine {

// From the cheapest rung down. What frees wait for is ordered first, then waited for, then the whole device.
Ladder::Step Ladder::try_rungs(const Request& request, bool capturing, std::unique_lock<base::MapLock>& map,
                               Granted& out) {
  // Looked up anew each time: the callback of a source may forget the stream.
  const auto home = [&]() -> StreamHome& { return home_of(state_, request.stream); };
  const auto once = [&] {
    return request.pool && request.pool->has_source ? grow_from_source(request, map, out)
                                                    : try_once(request, home(), capturing, out);
  };
  Step step = once();
  if (step == Step::no_memory && settle_pending(state_, Settle::wait) > 0) {
    state_.counters.alloc_retries++;
    step = once();
  }
  if (step == Step::no_memory && !capturing) {
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
  return step == Step::no_memory ? try_pools_on_oom(request, home(), out) : step;
}

Status Ladder::climb_locked(const Request& request, std::unique_lock<base::MapLock>& map, Granted& out) {
  backing_.rungs = {};
  for (std::uint32_t attempt = 0;; attempt++) {
    reap_orphans(state_);
    reap_exports(state_);
    const bool capturing = state_.order.capturing(*home_of(state_, request.stream).stream);
    if (request.pool) {
      pools_.keep(request.pool);
      if (capturing) pools_.mark_captured(*request.pool);
    }
    settle_pending(state_, Settle::order);
    // Beyond the largest block there is nothing to look for, but a record is owed.
    const bool possible = request.fits() && !(request.injected && attempt == 0);
    const Step step = possible ? try_rungs(request, capturing, map, out) : Step::no_memory;
    if (step == Step::done) return Status::ok;
    if (step == Step::failed) return failure_;
    gapless_oom_record record{};
    if (!ask_hooks(request, capturing, attempt, map, record)) return give_up(record);
  }
}

Status Ladder::climb(const Request& request, Granted& out) {
  const RelaxedCapture relaxed(state_.ops);
  std::unique_lock map(state_.map);
  renumber_epochs(state_);
  consider_sharing(state_);
  return climb_locked(request, map, out);
}

// The usual miss: nothing is pending, and the place stays as it is.
Ladder::Step Ladder::try_found(const Request& request, BackedHeap& heap, heap::BlockId block, Granted& out) {
  HeldPlace held(state_, heap, block);
  renumber_epochs(state_);
  backing_.rungs = {};
  consider_sharing(state_);
  StreamHome& home = home_of(state_, request.stream);
  const bool capturing = state_.order.capturing(*home.stream);
  settle_pending(state_, Settle::order);
  return back_or_leave(request, home, heap, held, capturing, out);
}

Status Ladder::climb_from(const Request& request, BackedHeap& heap, heap::BlockId block, Granted& out) {
  std::unique_lock map(state_.map, std::adopt_lock);
  const RelaxedCapture relaxed(state_.ops);
  const Step step = try_found(request, heap, block, out);
  if (step == Step::done) return Status::ok;
  return step == Step::failed ? failure_ : climb_locked(request, map, out);
}

}  // namespace gapless::engine

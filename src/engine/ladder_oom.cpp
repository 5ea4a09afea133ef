// SPDX-License-Identifier: Apache-2.0
// The end of the ladder: the record of an out-of-memory, and who is asked before it is said.
#include <algorithm>
#include <mutex>

#include "engine/homes.hpp"
#include "engine/ladder.hpp"
#include "engine/notify.hpp"
#include "engine/oom.hpp"
#include "engine/places.hpp"
#include "engine/segments.hpp"
#include "engine/sharing.hpp"

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

}  // namespace

// Fills the record and asks the hooks, with no lock held. True: something has come free, try again. The map lock is
// given up and taken back.
bool Ladder::ask_hooks(const Request& request, bool capturing, std::uint32_t attempt,
                       std::unique_lock<base::MapLock>& map, gapless_oom_record& record) {
  fill_record(request, capturing, record);
  if (request.injected && attempt == 0) record.verdict = GAPLESS_OOM_INJECTED;
  record.attempt = attempt;
  const ProgressMark before = progress_mark(state_);
  map.unlock();
  say_farewells(state_);
  gapless_oom_answer answer = GAPLESS_OOM_GIVE_UP;
  if (OomHook* const hook = state_.shared.oom_hook.load(std::memory_order_acquire)) {
    hook->complete(record);
    if (!inside_hook && !capturing && request.fits() && attempt < kMostAttempts) {
      const InsideHook inside;
      answer = hook->ask(record);
    }
  }
  map.lock();
  return answer == GAPLESS_OOM_TRY_AGAIN && progressed(before, progress_mark(state_));
}

Status Ladder::give_up(gapless_oom_record& record) {
  {
    const std::lock_guard guard(oom_lock_);
    record.sequence = ++ooms_;
    last_oom_ = record;
    any_oom_ = true;
  }
  {
    const std::lock_guard guard(state_.fast);
    state_.counters.ooms++;
    state_.marks.failed = true;
    note_oom(state_, record);
  }
  return base::fail(Status::out_of_memory, oom_text(record));
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
  const BackedHeap *small = nullptr, *large = nullptr;
  const BackedHeap* aside = nullptr;  // tried as well, while the stream shares a heap
  {
    const std::lock_guard guard(state_.fast);
    const StreamHome* const home = find_home(state_, stream);
    if (home != nullptr && pool != nullptr) {
      small = pool->find(*home->stream, heap::SizeClass::small);
      large = pool->find(*home->stream, heap::SizeClass::large);
    } else if (home != nullptr) {
      small = home->heaps[static_cast<std::size_t>(heap::SizeClass::small)];
      large = home->shares ? (home->member != heap::kNoMember ? state_.group.heap() : nullptr)
                           : home->heaps[static_cast<std::size_t>(heap::SizeClass::large)];
      aside = home->aside;
    }
  }
  if (pool != nullptr && pool->has_source) {
    // What a source would give is not known before it is asked: the pool's own free memory is certain.
    const std::lock_guard guard(state_.fast);
    std::uint64_t most = 0;
    for (const BackedHeap* const heap : {small, large})
      if (heap != nullptr) most = std::max(most, largest_free(heap->heap));
    return most;
  }
  const std::uint64_t granules = obtainable_granules(state_, false);
  const std::lock_guard guard(state_.fast);
  const auto most_in = [&](const BackedHeap* heap) {
    return heap != nullptr ? largest_place(heap->heap, granules) : granules * state_.granule;
  };
  const std::uint64_t most = std::max(most_in(large), aside != nullptr ? most_in(aside) : 0);
  // What is small does not go to the heap for large blocks, whatever room there is.
  return most > heap::kLargestSmall.bytes() ? most : std::min(most_in(small), heap::kLargestSmall.bytes());
}

}  // namespace gapless::engine

// SPDX-License-Identifier: Apache-2.0
// What an allocation does when the hit path fails, rung by rung, down to a typed out-of-memory.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "engine/backing.hpp"
#include "engine/device_state.hpp"
#include "engine/private_pools.hpp"
#include "engine/recurring.hpp"

namespace gapless::engine {

struct Request {
  driver::Stream stream;
  std::uint64_t requested;  // bytes as asked for
  Units size;
  heap::SizeClass size_class;
  std::shared_ptr<PrivatePool> pool;  // null: the default pool
  bool injected = false;              // it is to fail at first, whatever there is

  bool fits() const { return requested <= size.bytes(); }  // no: larger than any block
};

struct Granted {
  BackedHeap* heap = nullptr;
  heap::BlockId block = heap::kNoBlock;
};

// A place that is held but not granted yet: live, not counted. It goes back at the end unless it was let go.
class HeldPlace {
 public:
  HeldPlace(DeviceState& state, BackedHeap& heap, heap::BlockId block) : state_(state), heap_(heap), block_(block) {}
  ~HeldPlace() {
    if (block_ == heap::kNoBlock) return;
    const std::lock_guard guard(state_.fast);
    heap_.heap.unplace(block_);
  }
  heap::BlockId block() const { return block_; }
  // It is the caller's now.
  heap::BlockId let_go() { return std::exchange(block_, heap::kNoBlock); }
  HeldPlace(const HeldPlace&) = delete;
  HeldPlace& operator=(const HeldPlace&) = delete;

 private:
  DeviceState& state_;
  BackedHeap& heap_;
  heap::BlockId block_;
};

// Lent blocks, idle granules and the rest: one of these a device, used under its map lock.
class Ladder {
 public:
  Ladder(DeviceState& state, PrivatePools& pools) : state_(state), pools_(pools), backing_(state) {}

  // Meets the request or fails. Takes the map lock, and gives it up around hooks and segment sources. The block is
  // counted and announced. Errors: OUT_OF_MEMORY, DRIVER, UNSUPPORTED.
  Status climb(const Request& request, Granted& out);
  // The same, with a place that the hit path found in `heap` but that is not backed; the map lock is held and adopted.
  Status climb_from(const Request& request, BackedHeap& heap, heap::BlockId block, Granted& out);

  // The largest request of the default pool that would succeed now. Under the map lock.
  std::uint64_t largest_obtainable(driver::Stream stream, const PrivatePool* pool);
  bool last_oom(gapless_oom_record& out);
  base::LeafLock& oom_lock() { return oom_lock_; }  // around fork()
  Backing& backing() { return backing_; }

 private:
  enum class Step { done, no_memory, failed };
  Step try_once(const Request& request, StreamHome& home, bool capturing, Granted& out);
  Step try_found(const Request& request, BackedHeap& heap, heap::BlockId block, Granted& out);
  Step try_in(const Request& request, StreamHome& home, BackedHeap* shared, bool capturing, Granted& out);
  Step place(const Request& request, StreamHome& home, BackedHeap*& heap, heap::BlockId& block);
  Step back(const Request& request, StreamHome& home, BackedHeap& heap, HeldPlace& held, bool capturing, Granted& out,
            unsigned met = 0);
  Step back_or_leave(const Request& request, StreamHome& home, BackedHeap& heap, HeldPlace& held, bool capturing,
                     Granted& out);
  Step lend(const Request& request, StreamHome& home, BackedHeap& heap, HeldPlace& held, Granted& out);
  std::optional<Moment> moment_of(const Request& request, BackedHeap& heap, heap::BlockId block);
  bool should_step_aside(const BackedHeap& heap, const std::optional<Moment>& moment, unsigned met) const;
  bool step_aside(const Request& request, BackedHeap& heap, HeldPlace& held, Granted& out);
  Step try_other_places(const Request& request, StreamHome& home, BackedHeap& heap, bool capturing, Granted& out);
  Step try_pools_on_oom(const Request& request, StreamHome& home, Granted& out);
  Step grow_from_source(const Request& request, std::unique_lock<base::MapLock>& map, Granted& out);
  void grant(const Request& request, BackedHeap& heap, heap::BlockId block, Granted& out) noexcept;
  Step try_rungs(const Request& request, bool capturing, std::unique_lock<base::MapLock>& map, Granted& out);
  Status climb_locked(const Request& request, std::unique_lock<base::MapLock>& map, Granted& out);
  bool ask_hooks(const Request& request, bool capturing, std::uint32_t attempt, std::unique_lock<base::MapLock>& map,
                 gapless_oom_record& record);
  Status give_up(gapless_oom_record& record);
  void fill_record(const Request& request, bool capturing, gapless_oom_record& record);

  DeviceState& state_;
  PrivatePools& pools_;
  Backing backing_;
  RecurringMisses recurring_;
  Status failure_ = Status::ok;
  bool unordered_ = false;  // a place of the shared heap was given up since its last uses cannot be ordered now
  base::LeafLock oom_lock_;
  gapless_oom_record last_oom_{};
  bool any_oom_ = false;
  std::uint64_t ooms_ = 0;
};

}  // namespace gapless::engine

// SPDX-License-Identifier: Apache-2.0
// Private pools: blocks of graph captures and of MemPools, kept apart from the default pool.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "engine/device_state.hpp"

namespace gapless::engine {

struct PrivatePool {
  gapless_pool_id id{};
  std::int32_t uses = 0;
  bool use_on_oom = false;
  bool no_split = false;
  // A capture has used it: graphs know its addresses, so its granules stay where they are while the pool has uses.
  std::atomic<bool> captured{false};
  bool has_source = false;
  gapless_segment_source source{};
  std::vector<BackedHeap*> heaps;

  BackedHeap* find(const stream::StreamState& stream, heap::SizeClass size_class) const {
    for (BackedHeap* const heap : heaps)
      if (heap->stream == &stream && heap->size_class() == size_class) return heap;
    return nullptr;
  }
};

// Routes allocations to a pool while it is open.
struct Scope {
  Scope(std::shared_ptr<PrivatePool> scope_pool, gapless_pool_filter scope_filter, void* scope_user,
        void (*scope_destroy)(void* user))
      : pool(std::move(scope_pool)), filter(scope_filter), user(scope_user), destroy(scope_destroy) {}
  // A copy would destroy `user` a second time.
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope() {
    if (destroy != nullptr) destroy(user);
  }

  std::shared_ptr<PrivatePool> pool;
  gapless_pool_filter filter;
  void* user;
  void (*destroy)(void* user);
};

inline bool same(gapless_pool_id a, gapless_pool_id b) {
  return a.high == b.high && a.low == b.low;
}
inline bool is_default(gapless_pool_id id) {
  return id.high == 0 && id.low == 0;
}

// All pools of a device. The list of scopes is read under a lock of its own, since filters run with no lock held.
class PrivatePools {
 public:
  explicit PrivatePools(DeviceState& state) : state_(state) {}

  Status create(gapless_pool_id id, const gapless_segment_source* source);
  Status release(gapless_pool_id id);
  Status use_count(gapless_pool_id id, std::int32_t& out);
  Status begin(gapless_pool_id id, gapless_pool_filter filter, void* user, void (*destroy)(void* user));
  Status end(gapless_pool_id id);
  Status set_flag(gapless_pool_id id, std::uint32_t flag, bool on);

  // The pool that takes an allocation of the calling thread on `stream`, or null. No lock held.
  std::shared_ptr<PrivatePool> route(driver::Stream stream);
  // Under the map lock.
  PrivatePool* find(gapless_pool_id id);
  // A routed pool may have been reaped since: it is among them again. Under the map lock.
  void keep(const std::shared_ptr<PrivatePool>& pool);
  const std::vector<std::shared_ptr<PrivatePool>>& all() const { return pools_; }
  // Around fork(): whoever holds the list of scopes would hold it in the child for ever.
  base::LeafLock& scopes_lock() { return scopes_lock_; }
  // Pools without uses whose blocks have all died: their heaps wait for new owners. Under the map lock.
  void reap();
  // One of them was being asked when reap() came by: it wants to be called again. Any thread.
  bool reap_waits() const { return reap_waits_.load(); }
  // From now on graphs know the pool's addresses: what it has stays in place. Under the map lock.
  void mark_captured(PrivatePool& pool);
  void pin(BackedHeap& heap, Units offset, Units size);
  // The allocator closes: scopes end, sources are told. Under the map lock; say_farewells() and dropping `ended` come
  // after.
  void part(std::vector<std::shared_ptr<Scope>>& ended);

 private:
  const std::shared_ptr<PrivatePool>& find_or_make(gapless_pool_id id);
  void unpin(PrivatePool& pool);

  DeviceState& state_;
  std::vector<std::shared_ptr<PrivatePool>> pools_;  // map lock
  std::atomic<bool> reap_waits_{false};
  base::LeafLock scopes_lock_;
  std::vector<std::shared_ptr<Scope>> scopes_;  // innermost last
};

}  // namespace gapless::engine

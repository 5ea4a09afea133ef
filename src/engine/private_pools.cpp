// SPDX-License-Identifier: Apache-2.0
#include "engine/private_pools.hpp"

#include <algorithm>
#include <mutex>
#include <string>

#include "engine/exports.hpp"
#include "engine/homes.hpp"
#include "engine/segments.hpp"

namespace gapless::engine {

namespace {

Status no_such_pool(gapless_pool_id id) {
  return base::fail(Status::not_found, "no pool (" + std::to_string(id.high) + ", " + std::to_string(id.low) + ")");
}

}  // namespace

PrivatePool* PrivatePools::find(gapless_pool_id id) {
  for (const auto& pool : pools_)
    if (same(pool->id, id)) return pool.get();
  return nullptr;
}

const std::shared_ptr<PrivatePool>& PrivatePools::find_or_make(gapless_pool_id id) {
  for (const auto& pool : pools_)
    if (same(pool->id, id)) return pool;
  pools_.push_back(std::make_shared<PrivatePool>());
  pools_.back()->id = id;
  return pools_.back();
}

void PrivatePools::keep(const std::shared_ptr<PrivatePool>& pool) {
  if (std::find(pools_.begin(), pools_.end(), pool) == pools_.end()) pools_.push_back(pool);
}

Status PrivatePools::create(gapless_pool_id id, const gapless_segment_source* source) {
  if (is_default(id)) return base::fail(Status::invalid_argument, "(0, 0) is the default pool");
  bool unused = source != nullptr;
  {
    const std::lock_guard guard(state_.map);
    PrivatePool& pool = *find_or_make(id);
    if (source != nullptr && source->allocate != nullptr && !pool.has_source) {
      if (!pool.heaps.empty())
        return base::fail(Status::busy, "the pool has memory already: it cannot change its source");
      pool.source = *source;
      pool.has_source = true;
      unused = false;
    }
    pool.uses++;
  }
  // The caller has given the source away; a pool that has one already keeps it.
  if (unused && source->destroy != nullptr) source->destroy(source->user);
  return Status::ok;
}

Status PrivatePools::release(gapless_pool_id id) {
  const std::lock_guard guard(state_.map);
  PrivatePool* const pool = find(id);
  if (pool == nullptr || pool->uses == 0) return no_such_pool(id);
  if (--pool->uses == 0) {
    unpin(*pool);
    reap();
  }
  return Status::ok;
}

Status PrivatePools::use_count(gapless_pool_id id, std::int32_t& out) {
  const std::lock_guard guard(state_.map);
  const PrivatePool* const pool = find(id);
  if (pool == nullptr) return no_such_pool(id);
  out = pool->uses;
  return Status::ok;
}

Status PrivatePools::begin(gapless_pool_id id, gapless_pool_filter filter, void* user, void (*destroy)(void* user)) {
  if (is_default(id) || filter == nullptr)
    return base::fail(Status::invalid_argument, "a scope needs a private pool and a filter");
  const std::lock_guard guard(state_.map);
  const std::shared_ptr<PrivatePool>& pool = find_or_make(id);
  pool->uses++;
  // Ids of graph captures have a first half: their blocks are captured from the first on.
  if (id.high != 0) mark_captured(*pool);
  const std::lock_guard scopes_guard(scopes_lock_);
  scopes_.push_back(std::make_shared<Scope>(pool, filter, user, destroy));
  state_.raise(kScopes);
  return Status::ok;
}

Status PrivatePools::end(gapless_pool_id id) {
  std::shared_ptr<Scope> ended;  // destroyed, and its `destroy` called, after the locks are gone
  {
    const std::lock_guard guard(scopes_lock_);
    const auto at =
        std::find_if(scopes_.rbegin(), scopes_.rend(), [&](const auto& scope) { return same(scope->pool->id, id); });
    if (at == scopes_.rend()) return no_such_pool(id);
    ended = *at;
    scopes_.erase(std::next(at).base());
    if (scopes_.empty()) state_.lower(kScopes);
  }
  ended.reset();
  if (reap_waits()) {
    const std::lock_guard guard(state_.map);
    reap();
  }
  return Status::ok;
}

Status PrivatePools::set_flag(gapless_pool_id id, std::uint32_t flag, bool on) {
  const std::lock_guard guard(state_.map);
  PrivatePool* const pool = find(id);
  if (pool == nullptr) return no_such_pool(id);
  switch (flag) {
    case GAPLESS_POOL_USE_ON_OOM:
      pool->use_on_oom = on;
      return Status::ok;
    case GAPLESS_POOL_NO_SPLIT:
      pool->no_split = on;
      return Status::ok;
    default:
      return base::fail(Status::invalid_argument, "unknown pool flag " + std::to_string(flag));
  }
}

std::shared_ptr<PrivatePool> PrivatePools::route(driver::Stream stream) {
  std::vector<std::shared_ptr<Scope>> scopes;
  {
    const std::lock_guard guard(scopes_lock_);
    scopes = scopes_;
  }
  for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope)
    if ((*scope)->filter((*scope)->user, stream) != 0) return (*scope)->pool;
  return nullptr;
}

void PrivatePools::pin(BackedHeap& heap, Units offset, Units size) {
  const std::lock_guard guard(state_.fast);
  for (std::uint32_t slot = heap.slots.slot_of(offset); slot <= heap.slots.slot_of(offset + size - Units(1)); slot++)
    if (heap.slots.active(slot) != vmm::kNoHandle && !heap.slots.pinned(slot)) {
      heap.slots.set_pinned(slot, true);
      state_.pinned_slots++;
    }
}

void PrivatePools::mark_captured(PrivatePool& pool) {
  if (pool.captured) return;
  pool.captured = true;
  for (BackedHeap* const heap : pool.heaps)
    if (heap->space != vmm::kNoSpace)
      for (const heap::Span& span : heap->heap.spans())
        if (span.end > span.first) pin(*heap, span.first, span.end - span.first);
}

// The pool's graphs are gone. One that begins it anew pins what is left of it.
void PrivatePools::unpin(PrivatePool& pool) {
  pool.captured = false;
  for (BackedHeap* const heap : pool.heaps) {
    const std::lock_guard guard(state_.fast);
    for (std::uint32_t slot = 0; slot < heap->slots.slots(); slot++)
      if (heap->slots.pinned(slot) && !is_exported(state_, *heap, slot)) {
        heap->slots.set_pinned(slot, false);
        state_.pinned_slots--;
      }
  }
}

void PrivatePools::part(std::vector<std::shared_ptr<Scope>>& ended) {
  {
    const std::lock_guard guard(scopes_lock_);
    ended.swap(scopes_);
  }
  for (const auto& pool : pools_) {
    if (!pool->has_source) continue;
    pool->has_source = false;
    state_.farewells.push_back(Farewell{pool->source, nullptr, 0});
  }
}

void PrivatePools::reap() {
  bool left = false;
  for (std::size_t i = pools_.size(); i-- > 0;) {
    PrivatePool& pool = *pools_[i];
    // A scope that is open, or a request that one has routed here and that is on its way, will still ask it: later.
    if (pool.uses > 0) continue;
    // Said before it is looked at: the request either sees that, or has let go of the pool already.
    reap_waits_.store(true);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (pools_[i].use_count() > 1) {
      left = true;
      continue;
    }
    {
      const std::lock_guard guard(state_.fast);
      std::erase_if(pool.heaps, [&](BackedHeap* heap) {
        if (!heap->heap.empty() || heap->space == vmm::kNoSpace) return false;
        retire_heap(state_, *heap);
        return true;
      });
    }
    release_empty_segments(state_, pool);
    if (!pool.heaps.empty()) continue;
    if (pool.has_source) state_.farewells.push_back(Farewell{pool.source, nullptr, 0});
    pools_.erase(pools_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  if (!left) reap_waits_.store(false);
}

}  // namespace gapless::engine

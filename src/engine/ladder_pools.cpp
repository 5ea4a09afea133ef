// SPDX-License-Identifier: Apache-2.0
// The rungs of private pools: memory from a pool's source, and the free memory of pools that offer it.
#include <mutex>
#include <new>

#include "engine/homes.hpp"
#include "engine/ladder.hpp"
#include "engine/segments.hpp"

namespace gapless::engine {

namespace {

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
  try {
    failure_ = add_segment(state_, pool, asking(), request.size_class, segment, bytes);
  } catch (const std::bad_alloc&) {
    failure_ = base::fail(Status::out_of_memory, "the host has no memory for the tables of another segment");
  }
  if (failure_ != Status::ok) {
    map.unlock();
    if (source.deallocate != nullptr) source.deallocate(source.user, state_.device, segment, bytes);
    map.lock();
    return Step::no_memory;
  }
  return take() ? Step::done : Step::no_memory;
}

}  // namespace gapless::engine

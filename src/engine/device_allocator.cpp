// SPDX-License-Identifier: Apache-2.0
// How one device's allocator begins and ends, what may be set while it runs, and its own checks.
#include "engine/device_allocator.hpp"

#include <algorithm>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/homes.hpp"
#include "engine/oom.hpp"
#include "engine/pending.hpp"
#include "engine/segments.hpp"
#include "engine/sharing.hpp"
#include "engine/trim.hpp"

namespace gapless::engine {

namespace {

std::uint64_t limit_of(const config::Options& options, std::uint64_t device_bytes) {
  if (options.memory_fraction >= 1.0) return options.limit;
  const auto fraction = static_cast<std::uint64_t>(options.memory_fraction * static_cast<double>(device_bytes));
  return std::min<std::uint64_t>(options.limit, fraction);
}

}  // namespace

DeviceAllocator::DeviceAllocator(Shared& shared, int device, const driver::DeviceInfo& info,
                                 const config::Options& options)
    : state_(*this, shared, device, info, options), pools_(state_), ladder_(state_, pools_) {
  // Record 0 is written through by list code, so it must exist before the first block.
  if (const heap::BlockId first = state_.blocks.take(); first != heap::kNoBlock) state_.blocks.give(first);
  state_.limit = limit_of(options, info.total_bytes);
  set_options(options, true);
  if (shared.listener.load() != nullptr) state_.raise(kListening);
}

DeviceAllocator::~DeviceAllocator() {
  if ((state_.attention.load() & kForked) != 0) return;
  state_.creator.stop();
  const RelaxedCapture relaxed(state_.ops);
  std::vector<std::shared_ptr<Scope>> ended;
  {
    const std::lock_guard map(state_.map);
    list_ready(state_);
    settle_pending(state_, Settle::wait);
    static_cast<void>(wait_for_everything(state_));
    for (const auto& heap : state_.heaps)
      if (heap->space != vmm::kNoSpace) destroy_heap(state_, *heap);
    release_all_empty_segments(state_, pools_);
    pools_.part(ended);
    for (vmm::HandleId id = state_.ledger.unlist_any(); id != vmm::kNoHandle; id = state_.ledger.unlist_any())
      static_cast<void>(state_.ops.release(state_.ledger[id].handle));
    for (const auto& stream : state_.streams) state_.order.forget(*stream);
    state_.events.clear();
  }
  say_farewells(state_);
}

void DeviceAllocator::set_options(const config::Options& options, bool first) {
  const std::lock_guard map(state_.map);
  state_.creator.pause();
  share_streams(state_, options.stream_sharing == config::Toggle::on ||
                            (options.stream_sharing == config::Toggle::automatic && state_.sharing_switch.on()));
  const std::lock_guard guard(state_.fast);
  // Another option that changes leaves a limit that set_limit() gave.
  if (options.limit != state_.options.limit || options.memory_fraction != state_.options.memory_fraction)
    state_.limit = limit_of(options, state_.info.total_bytes);
  if (!(options.inject_oom == state_.options.inject_oom) || first) {
    state_.injector.set(options.inject_oom);
    if (state_.injector.armed())
      state_.raise(kInjecting);
    else
      state_.lower(kInjecting);
  }
  state_.options = options;
  const bool write = state_.journal != nullptr && options.learn;
  if (write && (state_.attention.load(std::memory_order_relaxed) & kJournal) == 0) state_.journal->spoil();
  if (write)
    state_.raise(kJournal);
  else
    state_.lower(kJournal);
  if (options.roundup_power2_divisions == config::Divisions{})
    state_.lower(kRounding);
  else
    state_.raise(kRounding);
}

// The map lock too: a miss that is under way is told of as a whole or not at all.
void DeviceAllocator::listen(bool on) {
  const std::lock_guard misses(state_.map);
  const std::lock_guard guard(state_.fast);
  if (on)
    state_.raise(kListening);
  else
    state_.lower(kListening);
}

bool DeviceAllocator::any_live() {
  const std::lock_guard guard(state_.fast);
  return state_.counters.live_bytes() > 0;
}

void DeviceAllocator::prepare_fork() {
  // Several devices' locks at once, in the order of the devices: the only place where that happens. try_lock, since
  // ranks are meant for one device.
  while (!state_.map.try_lock()) std::this_thread::yield();
  while (!state_.creator.step_lock().try_lock()) std::this_thread::yield();
  while (!state_.fast.try_lock()) std::this_thread::yield();
  while (!pools_.scopes_lock().try_lock()) std::this_thread::yield();
  while (!ladder_.oom_lock().try_lock()) std::this_thread::yield();
  while (!state_.events.lock().try_lock()) std::this_thread::yield();
}

void DeviceAllocator::after_fork(bool child) {
  if (child) {
    state_.raise(kForked);
    state_.creator.abandon_thread();
  }
  state_.events.lock().unlock();
  ladder_.oom_lock().unlock();
  pools_.scopes_lock().unlock();
  state_.fast.unlock();
  state_.creator.step_lock().unlock();
  state_.map.unlock();
}

void DeviceAllocator::validate() {
  const std::lock_guard map(state_.map);
  const std::lock_guard guard(state_.fast);
  std::uint64_t live = 0;
  std::uint64_t pending = 0;
  state_.ledger.validate();
  state_.group.validate();
  for (const auto& heap : state_.heaps) {
    heap->heap.validate();
    for (const heap::Span& span : heap->heap.spans())
      for (heap::BlockId id = span.end > span.first ? heap->heap.head_of(span) : heap::kNoBlock; id != heap::kNoBlock;
           id = state_.blocks[id].next) {
        const heap::Block& block = state_.blocks[id];
        if (block.is_free()) continue;
        (block.state == heap::BlockState::live ? live : pending) += block.size.bytes();
        GAPLESS_CHECK(1, "I2", heap->slots.backed(block.offset, block.size));
      }
  }
  GAPLESS_CHECK(1, "E1", live == state_.counters.live_bytes() && pending == state_.counters.pending_bytes());
  const auto reserved = static_cast<std::uint64_t>(state_.counters.reserved[GAPLESS_ALL].current);
  GAPLESS_CHECK(1, "E1", state_.physical == reserved + state_.creator.bytes_being_made());
}

}  // namespace gapless::engine

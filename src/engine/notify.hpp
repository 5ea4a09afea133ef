// SPDX-License-Identifier: Apache-2.0
// Events for the listener. They get their number under the fast lock, wait in an outbox of the thread, and are
// delivered when the thread holds no lock any more.
#pragma once

#include "engine/device_state.hpp"

namespace gapless::engine {

inline bool listening(const DeviceState& state) {
  return (state.attention.load(std::memory_order_relaxed) & kListening) != 0;
}
// Before the fast lock, where a call notes events: makes room for them in the thread's outbox, and for `count` more.
// Throws std::bad_alloc.
void expect_events(DeviceState& state, std::size_t count);
// Under the fast lock. No-ops while nobody listens (and, for freed blocks, no cookie is held).
void note_event(DeviceState& state, gapless_event_kind kind, const BackedHeap& heap, std::uint64_t address,
                std::uint64_t bytes, std::uint64_t cookie);
void note_oom(DeviceState& state, const gapless_oom_record& record);
void note_block(DeviceState& state, gapless_event_kind kind, BackedHeap& heap, heap::BlockId block);
// The block's memory becomes free for reuse: its cookie is let go.
void note_free_completed(DeviceState& state, BackedHeap& heap, heap::BlockId block);
void note_cookie_released(std::uint64_t cookie);

// The journal's lines; a test of one word while there is none. Under the fast lock.
void note_birth(DeviceState& state, BackedHeap& heap, heap::BlockId block);
void note_death(DeviceState& state, BackedHeap& heap, heap::BlockId block);

// No lock held. `fresh` is the block that the thread has just allocated, or 0: the listener's answer becomes its
// cookie.
void deliver(DeviceState& state, std::uint64_t fresh = 0);

// Returns when no thread is in a call of a listener that it found before this call; at once from inside such a call.
void await_deliveries(Shared& shared);
// Is the calling thread inside a listener's call?
bool delivering_here();

}  // namespace gapless::engine

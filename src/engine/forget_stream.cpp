// SPDX-License-Identifier: Apache-2.0
#include "engine/forget_stream.hpp"

#include <algorithm>
#include <mutex>

#include "driver/failed.hpp"
#include "engine/homes.hpp"

namespace gapless::engine {

using driver::Result;

namespace {

// Live blocks on which the stream was recorded: their event is recorded now instead of when they are freed.
Status record_uses(DeviceState& state, const stream::StreamKey& key) {
  for (;;) {
    driver::Event event = nullptr;
    Result result = state.events.take(event);
    if (result == Result::ok) result = state.ops.event_record(state.device, event, key.handle);
    if (result != Result::ok) {
      if (event != nullptr) state.events.give(event);
      return driver::failed(state.ops, "cuEventRecord", result);
    }
    const std::lock_guard guard(state.fast);
    bool taken = false;
    for (std::vector<Use>& uses : state.uses) {
      const auto at = std::find_if(uses.begin(), uses.end(),
                                   [&](const Use& use) { return use.stream == key && use.event == nullptr; });
      if (at == uses.end()) continue;
      at->event = event;
      taken = true;
      break;
    }
    if (!taken) {
      state.events.give(event);
      return Status::ok;
    }
  }
}

}  // namespace

Status forget_stream(DeviceState& state, driver::Stream handle) {
  const stream::StreamKey key = stream::key_of(handle);
  if (stream::captures(state.ops, state.device, key.handle))
    return base::fail(Status::in_capture, "the stream captures: it cannot be destroyed now");
  if (const Status status = record_uses(state, key); status != Status::ok) return status;

  StreamHome* home;
  {
    const std::lock_guard guard(state.fast);
    home = find_home(state, handle);
  }
  if (home == nullptr) return Status::ok;
  const auto at =
      std::find_if(state.homes.begin(), state.homes.end(), [&](const auto& other) { return other.get() == home; });
  std::vector<StreamHome*> table = table_of_homes(state, home);
  if (!state.order.finish(*home->stream)) return base::fail(Status::driver, "no event can be recorded on the stream");
  for (BackedHeap* const heap : {home->heaps[0], home->heaps[1], home->aside})
    if (heap != nullptr) heap->orphan = true;
  state.any_orphans = true;
  const std::unique_ptr<StreamHome> ended = std::move(*at);
  state.homes.erase(at);
  use_table(state, table);
  reap_orphans(state);
  return Status::ok;
}

}  // namespace gapless::engine

// SPDX-License-Identifier: Apache-2.0
#include "engine/capturing.hpp"

#include <algorithm>
#include <mutex>
#include <vector>

namespace gapless::engine {

namespace {

// The streams on which blocks were recorded, as far as there is room: under the fast lock no memory of the host is
// asked for. Of the threads' own default streams only this thread's may be asked.
bool collect_recorded(DeviceState& state, std::vector<driver::Stream>& out) {
  bool all = true;
  const auto add = [&](const std::vector<Use>& uses) {
    for (const Use& use : uses) {
      // One that was recorded early is over, and its handle not touched again.
      const bool ours = use.stream.thread == 0 || use.stream.thread == stream::this_thread();
      if (use.event != nullptr || !ours) continue;
      if (std::find(out.begin(), out.end(), use.stream.handle) != out.end()) continue;
      if (out.size() == out.capacity())
        all = false;
      else
        out.push_back(use.stream.handle);
    }
  };
  const std::lock_guard guard(state.fast);
  for (const std::vector<Use>& uses : state.uses) add(uses);
  for (const PendingFree& pending : state.pending) add(pending.deferred);
  return all;
}

}  // namespace

bool anyone_captures(DeviceState& state) {
  const auto captures = [&](driver::Stream stream) { return stream::captures(state.ops, state.device, stream); };
  if (captures(nullptr)) return true;
  if (std::any_of(state.streams.begin(), state.streams.end(),
                  [&](const auto& stream) { return state.order.capturing(*stream); }))
    return true;
  std::vector<driver::Stream> recorded;
  do {
    recorded.reserve(2 * recorded.capacity() + 32);
    recorded.clear();
  } while (!collect_recorded(state, recorded));
  return std::any_of(recorded.begin(), recorded.end(), captures);
}

}  // namespace gapless::engine

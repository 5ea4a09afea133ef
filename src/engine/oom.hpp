// SPDX-License-Identifier: Apache-2.0
// What an out-of-memory says, and what is tried before it is said.
#pragma once

#include <string>

#include "engine/device_state.hpp"
#include "engine/private_pools.hpp"

namespace gapless::engine {

// Fills what the device's state tells; the request's own fields are set already. Under the map lock.
void describe_oom(DeviceState& state, bool capturing, gapless_oom_record& record);
// One sentence with its numbers.
std::string oom_text(const gapless_oom_record& record);

// The host waits for the last use of everything freed, so that it is known to be idle. Under the map lock. Errors,
// after what could be waited for: IN_CAPTURE, DRIVER.
Status wait_for_everything(DeviceState& state);
// Segments of all sources that hold no block. Under the map lock.
std::uint64_t release_all_empty_segments(DeviceState& state, PrivatePools& pools);

// Did a hook make anything available? Less is in use, or more may be had.
struct ProgressMark {
  std::uint64_t in_use;
  std::uint64_t obtainable;
};
ProgressMark progress_mark(DeviceState& state);
inline bool progressed(const ProgressMark& before, const ProgressMark& after) {
  return after.in_use < before.in_use || after.obtainable > before.obtainable;
}

}  // namespace gapless::engine

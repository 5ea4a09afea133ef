// SPDX-License-Identifier: Apache-2.0
// Starting the epochs of all streams again before they run out.
#pragma once

#include "engine/device_state.hpp"

namespace gapless::engine {

// Does nothing until StreamOrder::worn(). Then the host waits for the device once, every stamp becomes 0 (complete) or
// 1 (freed since), and the streams count from 1. Where a stream captures, the device cannot be waited for: a later call
// does it; half of the epochs are left. Under the map lock.
void renumber_epochs(DeviceState& state);

}  // namespace gapless::engine

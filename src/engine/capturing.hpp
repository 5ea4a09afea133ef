// SPDX-License-Identifier: Apache-2.0
// May the whole device be waited for? That breaks every capture of its streams.
#pragma once

#include "engine/device_state.hpp"

namespace gapless::engine {

// Does a stream of the device capture that gapless can know of: one that allocated, one that was recorded on a block,
// or any that synchronises with the legacy default stream, for that the driver says. A stream without blocks that was
// made with cudaStreamNonBlocking cannot be known. Under the map lock.
bool anyone_captures(DeviceState& state);

}  // namespace gapless::engine

// SPDX-License-Identifier: Apache-2.0
// A stream that the program is about to destroy.
#pragma once

#include "engine/device_state.hpp"

namespace gapless::engine {

// From now on nothing touches the handle. Under the map lock. Errors: IN_CAPTURE, DRIVER.
Status forget_stream(DeviceState& state, driver::Stream handle);

}  // namespace gapless::engine

// SPDX-License-Identifier: Apache-2.0
// A failed driver call as a Status.
#pragma once

#include "base/status.hpp"
#include "driver/driver.hpp"

namespace gapless::driver {

inline Status failed(DriverOps& ops, const char* call, Result result) {
  return base::fail_driver(call, static_cast<int>(result), ops.result_name(result));
}

}  // namespace gapless::driver

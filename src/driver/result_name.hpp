// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "driver/driver.hpp"

namespace gapless::driver {

// The enumerator's name as in cuda.h, for drivers that cannot ask libcuda; static storage, never null.
const char* result_name(Result result);

}  // namespace gapless::driver

// SPDX-License-Identifier: Apache-2.0
// The one place where tests reach behind the C ABI: an allocator over a given driver, and its own validation.
#pragma once

#include <gapless/gapless.h>

#include <string>

#include "driver/driver.hpp"

namespace gapless::testing {

// Ignores the environment. Null: gapless_last_error says why. `driver` must outlive the allocator.
gapless_allocator* open_allocator(driver::DriverOps& driver, const std::string& options);

// The id and values of the first invariant that does not hold, or nothing.
std::string broken_invariant(gapless_allocator* allocator);

}  // namespace gapless::testing

// SPDX-License-Identifier: Apache-2.0
#include "support/open_allocator.hpp"

#include <memory>

#include "base/check.hpp"
#include "capi/handle.hpp"
#include "config/load.hpp"
#include "driver/forwarding_driver.hpp"

namespace gapless::testing {

gapless_allocator* open_allocator(driver::DriverOps& driver, const std::string& options) {
  bool ok = false;
  const config::Loaded loaded = config::load_options(nullptr, options.c_str(), &ok);
  gapless_allocator* allocator = nullptr;
  // The allocator owns what it is given; the test keeps its own driver.
  if (ok) (void)capi::open_with_driver(std::make_unique<driver::ForwardingDriver>(driver), loaded.options, &allocator);
  return allocator;
}

std::string broken_invariant(gapless_allocator* allocator) {
  try {
    allocator->engine->for_each_device([](engine::DeviceAllocator& device) { device.validate(); });
  } catch (const base::BrokenInvariant& broken) {
    return broken.what();
  }
  return {};
}

}  // namespace gapless::testing

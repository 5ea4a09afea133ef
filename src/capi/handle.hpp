// SPDX-License-Identifier: Apache-2.0
// What a gapless_allocator* points to.
#pragma once

#include <memory>

#include "capi/listener_adapter.hpp"
#include "capi/oom_hooks.hpp"
#include "config/options.hpp"
#include "driver/driver.hpp"
#include "engine/allocator.hpp"
#include "gapless/gapless.h"

struct gapless_allocator {
  std::unique_ptr<gapless::engine::Allocator> engine;
  gapless::capi::ListenerAdapter listener;
  gapless::capi::OomHooks oom_hooks;
};

namespace gapless::capi {

// gapless_open with a driver of the caller's: the simulated device, or a decorated one. Closed by gapless_close.
gapless_status open_with_driver(std::unique_ptr<driver::DriverOps> ops, const config::Options& options,
                                gapless_allocator** out);

}  // namespace gapless::capi

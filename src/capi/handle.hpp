// SPDX-License-Identifier: Apache-2.0
// What a gapless_allocator* points to.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/lock.hpp"
#include "capi/ipc_imports.hpp"
#include "capi/ipc_server.hpp"
#include "capi/listener_adapter.hpp"
#include "capi/oom_hooks.hpp"
#include "config/options.hpp"
#include "driver/driver.hpp"
#include "engine/allocator.hpp"
#include "gapless/gapless.h"

namespace gapless::guard {
class Guard;
}

struct gapless_allocator {
  std::unique_ptr<gapless::engine::Allocator> engine;
  std::shared_ptr<gapless::guard::Guard> guard;  // null: the option is off. Shared, so that few need to know the type
  gapless::learn::Learner learner;
  gapless::capi::OomHooks oom_hooks;

  gapless::base::LeafLock notes_lock;
  std::string notes;  // what the last configuration had to say: that of opening, or a PyTorch string since then

  gapless::base::LeafLock constant_lock;  // of all its constant pools
  std::atomic<int> constant_pools{0};     // open ones

  // The engine holds the current listener's adapter. These were replaced from inside their own calls, which have yet to
  // return through them.
  gapless::base::LeafLock retired_lock;
  std::vector<std::unique_ptr<gapless::engine::Listener>> retired;

  // Memory of this process for others, and of others for this one.
  gapless::base::LeafLock ipc_lock;
  std::unique_ptr<gapless::capi::IpcServer> ipc_server;  // from the first export on
  gapless::capi::IpcImports ipc_imports;

  ~gapless_allocator() {
    ipc_server.reset();  // its thread asks the engine
    if (engine != nullptr) ipc_imports.close_all(engine->ops(), gapless::capi::wait_in(*engine));
    // Closing makes events, so the listener goes last.
    const std::unique_ptr<gapless::engine::Listener> listener(engine != nullptr ? engine->listener() : nullptr);
    engine.reset();
  }
};

namespace gapless::capi {

// gapless_open with a driver of the caller's: the simulated device, or a decorated one. Closed by gapless_close.
gapless_status open_with_driver(std::unique_ptr<driver::DriverOps> ops, const config::Options& options,
                                gapless_allocator** out);

}  // namespace gapless::capi

// SPDX-License-Identifier: Apache-2.0
// The thread of background_creation in modelled time: what it would have made by now is made now, by the allocator's
// own step. One run is like another.
//
// The host is taken to spend 10 us for each operation that it issues to the device and 0.2 us for each event of the
// trace; driver calls take what the cost model says, on both threads, and neither waits for the other in the driver.
#pragma once

#include <cstdint>

#include "tools/replay/backend.hpp"
#include "tools/replay/driver_watch.hpp"

namespace gapless::tools {

class CreatorModel {
 public:
  CreatorModel(Backend& backend, DriverWatch& watch);

  void host_event(std::uint64_t device_ops) { pass(0.2 + 10.0 * static_cast<double>(device_ops)); }

 private:
  // The program's thread is so much further. May be called inside a driver call of it.
  void pass(double us);

  Backend& backend_;
  DriverWatch& watch_;
  double now_ = 0;
  double free_at_ = 0;  // the creator has nothing under way from here on
};

}  // namespace gapless::tools

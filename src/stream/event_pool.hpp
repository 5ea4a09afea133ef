// SPDX-License-Identifier: Apache-2.0
// Events are slow to make when several threads make them: used ones are kept.
#pragma once

#include <vector>

#include "base/lock.hpp"
#include "driver/driver.hpp"

namespace gapless::stream {

class EventPool {
 public:
  EventPool(driver::DriverOps& ops, int device) : ops_(ops), device_(device) {}

  driver::Result take(driver::Event& out);
  void give(driver::Event event);
  // Destroys the unused ones.
  void clear();
  base::LeafLock& lock() { return lock_; }  // around fork()

 private:
  driver::DriverOps& ops_;
  const int device_;
  base::LeafLock lock_;
  std::vector<driver::Event> unused_;
};

}  // namespace gapless::stream

// SPDX-License-Identifier: Apache-2.0
#include "stream/event_pool.hpp"

#include <mutex>

namespace gapless::stream {

driver::Result EventPool::take(driver::Event& out) {
  {
    const std::lock_guard guard(lock_);
    if (!unused_.empty()) {
      out = unused_.back();
      unused_.pop_back();
      return driver::Result::ok;
    }
  }
  return ops_.event_create(device_, out);
}

void EventPool::give(driver::Event event) {
  const std::lock_guard guard(lock_);
  unused_.push_back(event);
}

void EventPool::clear() {
  std::vector<driver::Event> events;
  {
    const std::lock_guard guard(lock_);
    events.swap(unused_);
  }
  for (const driver::Event event : events) static_cast<void>(ops_.event_destroy(device_, event));
}

}  // namespace gapless::stream

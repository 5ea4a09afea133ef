// SPDX-License-Identifier: Apache-2.0
#include "driver/sim/call_counters.hpp"

#include <algorithm>

namespace gapless::driver::sim {

int CallCounters::id(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (const auto it = ids_.find(name); it != ids_.end()) return it->second;
  const int id = std::min(static_cast<int>(ids_.size()), kMost - 1);
  ids_.emplace(name, id);
  return id;
}

std::uint64_t CallCounters::calls(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto it = ids_.find(name);
  return it == ids_.end() ? 0 : counts_[static_cast<std::size_t>(it->second)].load(std::memory_order_relaxed);
}

void CallCounters::reset() {
  for (auto& count : counts_) count.store(0, std::memory_order_relaxed);
}

}  // namespace gapless::driver::sim

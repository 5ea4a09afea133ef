// SPDX-License-Identifier: Apache-2.0
#include "driver/sim/host_threads.hpp"

#include <atomic>

namespace gapless::driver::sim {

std::uint32_t HostThreads::current_id() {
  static std::atomic<std::uint32_t> next{0};
  thread_local const std::uint32_t id = next.fetch_add(1, std::memory_order_relaxed);
  return id;
}

HostThread& HostThreads::current() {
  const std::uint32_t id = current_id();
  if (id >= threads_.size()) threads_.resize(id + 1);
  if (threads_[id] == nullptr) {
    threads_[id] = std::make_unique<HostThread>();
    threads_[id]->id = id;
  }
  return *threads_[id];
}

Clock& HostThreads::clock() {
  if (!separate_) return shared_;
  const std::uint32_t id = current_id();
  if (id >= clocks_.size()) clocks_.resize(id + 1);
  if (clocks_[id] == nullptr) clocks_[id] = std::make_unique<Clock>();
  return *clocks_[id];
}

}  // namespace gapless::driver::sim

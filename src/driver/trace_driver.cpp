// SPDX-License-Identifier: Apache-2.0
#include "driver/trace_driver.hpp"

#include <cstdio>

namespace gapless::driver {

std::uint64_t TraceDriver::memory_calls() const {
  std::uint64_t sum = 0;
  for (int i = 0; i < kCalls; ++i) {
    if (touches_memory(static_cast<Call>(i))) sum += calls(static_cast<Call>(i));
  }
  return sum;
}

void TraceDriver::reset() {
  for (auto& count : counts_) count.store(0, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  log_.clear();
}

std::vector<TraceDriver::Entry> TraceDriver::log() const {
  const std::lock_guard lock(mutex_);
  return log_;
}

std::string TraceDriver::text(const Entry& entry) {
  char line[160];
  std::snprintf(line, sizeof line, "%s 0x%llx %zu 0x%llx -> %d", call_name(entry.call),
                static_cast<unsigned long long>(entry.address), entry.bytes,
                static_cast<unsigned long long>(entry.handle), static_cast<int>(entry.result));
  return line;
}

Result TraceDriver::note(const Entry& entry) {
  if (keep_log_) {
    const std::lock_guard lock(mutex_);
    log_.push_back(entry);
  }
  return entry.result;
}

Result TraceDriver::address_reserve(std::size_t bytes, std::size_t alignment, Address& out) {
  const Result result = ForwardingDriver::address_reserve(bytes, alignment, out);
  return note({Call::address_reserve, result, result == Result::ok ? out : 0, bytes, 0});
}

Result TraceDriver::address_free(Address base, std::size_t bytes) {
  return note({Call::address_free, ForwardingDriver::address_free(base, bytes), base, bytes, 0});
}

Result TraceDriver::create(int device, std::size_t bytes, const HandleProperties& properties, Handle& out) {
  const Result result = ForwardingDriver::create(device, bytes, properties, out);
  return note({Call::create, result, 0, bytes, result == Result::ok ? out : 0});
}

Result TraceDriver::release(Handle handle) {
  return note({Call::release, ForwardingDriver::release(handle), 0, 0, handle});
}

Result TraceDriver::map(Address base, std::size_t bytes, Handle handle) {
  return note({Call::map, ForwardingDriver::map(base, bytes, handle), base, bytes, handle});
}

Result TraceDriver::unmap(Address base, std::size_t bytes) {
  return note({Call::unmap, ForwardingDriver::unmap(base, bytes), base, bytes, 0});
}

Result TraceDriver::set_access(Address base, std::size_t bytes, std::span<const int> devices) {
  return note({Call::set_access, ForwardingDriver::set_access(base, bytes, devices), base, bytes, 0});
}

}  // namespace gapless::driver

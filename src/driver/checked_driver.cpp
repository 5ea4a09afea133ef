// SPDX-License-Identifier: Apache-2.0
// Each call: judge and note the intent under the lock, call below without it, then commit or take the intent back.
#include "driver/checked_driver.hpp"

#include <cstdio>
#include <iterator>
#include <utility>

#include "driver/address_range.hpp"
#include "driver/left_out.hpp"

namespace gapless::driver {
namespace {

std::string range(const char* call, Address base, std::size_t bytes) {
  char text[128];
  std::snprintf(text, sizeof text, "%s of [0x%llx, +%zu)", call, static_cast<unsigned long long>(base), bytes);
  return text;
}

std::string handle_text(const char* call, std::uint64_t handle) {
  char text[96];
  std::snprintf(text, sizeof text, "%s of 0x%llx", call, static_cast<unsigned long long>(handle));
  return text;
}

}  // namespace

CheckedDriver::CheckedDriver(DriverOps& next, std::size_t granularity, int devices, std::string without)
    : ForwardingDriver(next), granularity_(granularity), devices_(devices), without_(std::move(without)) {}

Result CheckedDriver::broken(const char* rule, std::string text, Result result, const char* file, int line) {
  constexpr std::size_t kKept = 1000;
  if (!without_.empty() && left_out(without_, rule, file, line)) return result;
  ++report_count_;
  if (reports_.size() < kKept) reports_.push_back({rule, std::move(text)});
  return result;
}

std::vector<CheckedDriver::Report> CheckedDriver::reports() const {
  const std::lock_guard lock(mutex_);
  return reports_;
}

std::uint64_t CheckedDriver::report_count() const {
  const std::lock_guard lock(mutex_);
  return report_count_;
}

CheckedDriver::Live CheckedDriver::live() const {
  const std::lock_guard lock(mutex_);
  std::size_t held = 0;
  for (const auto& [handle, state] : handles_) held += state.held != 0 ? 1 : 0;
  return {reservations_.size(), held, mappings_.size(), events_.size()};
}

Result CheckedDriver::check_device(int device) {
  if (device >= 0 && device < devices_) return Result::ok;
  return broken("DEV-1", "device " + std::to_string(device) + " of " + std::to_string(devices_),
                Result::invalid_device);
}

Result CheckedDriver::memory_info(int device, MemoryInfo& out) {
  {
    const std::lock_guard lock(mutex_);
    if (const Result result = check_device(device); result != Result::ok) return result;
  }
  return ForwardingDriver::memory_info(device, out);
}

Result CheckedDriver::address_reserve(std::size_t bytes, std::size_t alignment, Address& out) {
  {
    const std::lock_guard lock(mutex_);
    if (bytes == 0 || !aligned(bytes)) return broken("VA-1", range("cuMemAddressReserve", 0, bytes));
    if ((alignment & (alignment - 1)) != 0)
      return broken("VA-2", "cuMemAddressReserve aligned to " + std::to_string(alignment));
  }
  const Result result = ForwardingDriver::address_reserve(bytes, alignment, out);
  if (result != Result::ok) return result;
  const std::lock_guard lock(mutex_);
  reservations_[out] = bytes;
  return result;
}

Result CheckedDriver::address_free(Address base, std::size_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    const auto it = reservations_.find(base);
    if (it == reservations_.end() || it->second != bytes) {
      return broken("VA-3", range("cuMemAddressFree", base, bytes) + ", which is not one whole reservation");
    }
    const auto mapped = mappings_.lower_bound(base);
    if (mapped != mappings_.end() && mapped->first < base + bytes) {
      return broken("VA-4", range("cuMemAddressFree", base, bytes) + " while part of it is mapped");
    }
    reservations_.erase(it);
  }
  const Result result = ForwardingDriver::address_free(base, bytes);
  if (result == Result::ok) return result;
  const std::lock_guard lock(mutex_);
  reservations_[base] = bytes;
  return result;
}

Result CheckedDriver::create(int device, std::size_t bytes, const HandleProperties& properties, Handle& out) {
  {
    const std::lock_guard lock(mutex_);
    if (const Result result = check_device(device); result != Result::ok) return result;
    if (bytes == 0 || !aligned(bytes)) return broken("HDL-1", range("cuMemCreate", 0, bytes));
  }
  const Result result = ForwardingDriver::create(device, bytes, properties, out);
  if (result != Result::ok) return result;
  const std::lock_guard lock(mutex_);
  handles_[out] = {bytes, 1, properties.posix_fd};
  return result;
}

Result CheckedDriver::release(Handle handle) {
  {
    const std::lock_guard lock(mutex_);
    const auto it = handles_.find(handle);
    if (it == handles_.end() || it->second.held == 0) {
      return broken("HDL-2", handle_text("cuMemRelease", handle) + ", which is not a handle that the program holds");
    }
    --it->second.held;
  }
  const Result result = ForwardingDriver::release(handle);
  const std::lock_guard lock(mutex_);
  const auto it = handles_.find(handle);
  if (it == handles_.end()) return result;
  if (result != Result::ok)
    ++it->second.held;
  else if (it->second.held == 0)
    handles_.erase(it);
  return result;
}

Result CheckedDriver::map(Address base, std::size_t bytes, Handle handle) {
  {
    const std::lock_guard lock(mutex_);
    const auto held = handles_.find(handle);
    if (held == handles_.end() || held->second.held == 0) {
      return broken("HDL-2", handle_text("cuMemMap", handle) + ", which is not a handle that the program holds");
    }
    if (bytes == 0 || !aligned(bytes) || !aligned(base) || bytes > held->second.bytes)
      return broken("MAP-1", range("cuMemMap", base, bytes));
    if (held->second.bytes != SIZE_MAX && bytes != held->second.bytes)
      return broken("MAP-7", range("cuMemMap", base, bytes) + ", which is not the whole handle");
    auto reservation = reservations_.upper_bound(base);
    if (reservation == reservations_.begin() ||
        (--reservation, !range_within(base, bytes, reservation->first, reservation->second))) {
      return broken("MAP-2", range("cuMemMap", base, bytes) + ", which is not inside one reservation");
    }
    const auto above = mappings_.lower_bound(base);
    const bool below = above != mappings_.begin() && std::prev(above)->first + std::prev(above)->second.bytes > base;
    if (below || (above != mappings_.end() && above->first < base + bytes)) {
      return broken("MAP-3", range("cuMemMap", base, bytes) + " over a mapping");
    }
    mappings_[base] = {bytes, false};
  }
  const Result result = ForwardingDriver::map(base, bytes, handle);
  if (result == Result::ok) return result;
  const std::lock_guard lock(mutex_);
  mappings_.erase(base);
  return result;
}

bool CheckedDriver::whole_mappings(Address base, std::size_t bytes) const {
  Address at = base;
  for (auto it = mappings_.find(base); at < base + bytes; ++it) {
    if (it == mappings_.end() || it->first != at || it->second.leaving) return false;
    at += it->second.bytes;
  }
  return bytes != 0 && at == base + bytes;
}

Result CheckedDriver::unmap(Address base, std::size_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    if (!whole_mappings(base, bytes))
      return broken("MAP-4", range("cuMemUnmap", base, bytes) + ", which is not a run of whole mappings");
    for (auto it = mappings_.find(base); it != mappings_.end() && it->first < base + bytes; ++it)
      it->second.leaving = true;
  }
  const Result result = ForwardingDriver::unmap(base, bytes);
  const std::lock_guard lock(mutex_);
  const auto first = mappings_.lower_bound(base);
  const auto last = mappings_.lower_bound(base + bytes);
  if (result == Result::ok) {
    mappings_.erase(first, last);
  } else {
    for (auto it = first; it != last; ++it) it->second.leaving = false;
  }
  return result;
}

Result CheckedDriver::set_access(Address base, std::size_t bytes, std::span<const int> devices) {
  {
    const std::lock_guard lock(mutex_);
    if (!whole_mappings(base, bytes))
      return broken("MAP-5", range("cuMemSetAccess", base, bytes) + ", which is not a run of whole mappings");
    if (devices.empty()) return broken("MAP-6", range("cuMemSetAccess", base, bytes) + " for no device");
    for (const int device : devices) {
      if (const Result result = check_device(device); result != Result::ok) return result;
    }
  }
  return ForwardingDriver::set_access(base, bytes, devices);
}

Result CheckedDriver::export_posix_fd(Handle handle, int& out) {
  {
    const std::lock_guard lock(mutex_);
    const auto it = handles_.find(handle);
    if (it == handles_.end() || it->second.held == 0) {
      return broken("HDL-2", handle_text("export", handle) + ", which is not a handle that the program holds");
    }
    if (!it->second.exportable)
      return broken("HDL-3", handle_text("export", handle) + ", which was not created for it");
  }
  return ForwardingDriver::export_posix_fd(handle, out);
}

Result CheckedDriver::import_posix_fd(int fd, Handle& out) {
  const Result result = ForwardingDriver::import_posix_fd(fd, out);
  if (result != Result::ok) return result;
  const std::lock_guard lock(mutex_);
  HandleState& state = handles_[out];
  ++state.held;
  // Another process's: its size is not known here, and DriverOps cannot ask.
  if (state.bytes == 0) state.bytes = SIZE_MAX;
  return result;
}

Result CheckedDriver::check_event(int device, Event event, const char* call) {
  const auto it = events_.find(event);
  if (it == events_.end()) return broken("EVT-1", std::string(call) + " of what is not a live event", Result{400});
  if (it->second == device) return Result::ok;
  return broken("EVT-2",
                std::string(call) + " on device " + std::to_string(device) + " of an event of device " +
                    std::to_string(it->second),
                Result{400});
}

Result CheckedDriver::event_create(int device, Event& out) {
  {
    const std::lock_guard lock(mutex_);
    if (const Result result = check_device(device); result != Result::ok) return result;
  }
  const Result result = ForwardingDriver::event_create(device, out);
  if (result != Result::ok) return result;
  const std::lock_guard lock(mutex_);
  events_[out] = device;
  return result;
}

Result CheckedDriver::event_destroy(int device, Event event) {
  {
    const std::lock_guard lock(mutex_);
    if (const Result result = check_event(device, event, "cuEventDestroy"); result != Result::ok) return result;
    events_.erase(event);
  }
  const Result result = ForwardingDriver::event_destroy(device, event);
  if (result == Result::ok) return result;
  const std::lock_guard lock(mutex_);
  events_[event] = device;
  return result;
}

Result CheckedDriver::event_record(int device, Event event, Stream stream) {
  {
    const std::lock_guard lock(mutex_);
    if (const Result result = check_event(device, event, "cuEventRecord"); result != Result::ok) return result;
  }
  return ForwardingDriver::event_record(device, event, stream);
}

Result CheckedDriver::event_query(int device, Event event) {
  {
    const std::lock_guard lock(mutex_);
    if (const Result result = check_event(device, event, "cuEventQuery"); result != Result::ok) return result;
  }
  return ForwardingDriver::event_query(device, event);
}

Result CheckedDriver::event_synchronize(int device, Event event) {
  {
    const std::lock_guard lock(mutex_);
    if (const Result result = check_event(device, event, "cuEventSynchronize"); result != Result::ok) return result;
  }
  return ForwardingDriver::event_synchronize(device, event);
}

// A stream may wait for an event of another device: only that it lives is asked.
Result CheckedDriver::stream_wait_event(int device, Stream stream, Event event) {
  {
    const std::lock_guard lock(mutex_);
    const auto it = events_.find(event);
    if (it == events_.end()) return broken("EVT-1", "cuStreamWaitEvent of what is not a live event", Result{400});
  }
  return ForwardingDriver::stream_wait_event(device, stream, event);
}

}  // namespace gapless::driver

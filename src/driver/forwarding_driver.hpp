// SPDX-License-Identifier: Apache-2.0
// What every decorator shares: a driver that asks its subclass before and tells it after each call of another driver.
//
// A decorator overrides `before` (to refuse, delay or note a call) and `after` (to learn its result), or single calls
// where it needs their arguments.
#pragma once

#include <array>
#include <string_view>

#include "driver/driver.hpp"

namespace gapless::driver {

enum class Call {
  device_count,
  device_info,
  memory_info,
  address_reserve,
  address_free,
  create,
  release,
  map,
  unmap,
  set_access,
  export_posix_fd,
  import_posix_fd,
  event_create,
  event_destroy,
  event_record,
  event_query,
  event_synchronize,
  stream_wait_event,
  stream_synchronize,
  device_synchronize,
  capture_info,
  exchange_capture_mode,
};
inline constexpr int kCalls = static_cast<int>(Call::exchange_capture_mode) + 1;

// CUDA's name of the function behind a call: "cuMemMap".
const char* call_name(Call call);
// Whether it is a driver call in the project's sense: it makes, maps or frees memory (cuMem*, without cuMemGetInfo).
constexpr bool touches_memory(Call call) {
  return call >= Call::address_reserve && call <= Call::import_posix_fd;
}

class ForwardingDriver : public DriverOps {
 public:
  explicit ForwardingDriver(DriverOps& next) : next_(next) {}

  Result device_count(int& out) override {
    return forward(Call::device_count, [&] { return next_.device_count(out); });
  }
  Result device_info(int device, DeviceInfo& out) override {
    return forward(Call::device_info, [&] { return next_.device_info(device, out); });
  }
  Result memory_info(int device, MemoryInfo& out) override {
    return forward(Call::memory_info, [&] { return next_.memory_info(device, out); });
  }
  Result address_reserve(std::size_t bytes, std::size_t alignment, Address& out) override {
    return forward(Call::address_reserve, [&] { return next_.address_reserve(bytes, alignment, out); });
  }
  Result address_free(Address base, std::size_t bytes) override {
    return forward(Call::address_free, [&] { return next_.address_free(base, bytes); });
  }
  Result create(int device, std::size_t bytes, const HandleProperties& properties, Handle& out) override {
    return forward(Call::create, [&] { return next_.create(device, bytes, properties, out); });
  }
  Result release(Handle handle) override {
    return forward(Call::release, [&] { return next_.release(handle); });
  }
  Result map(Address base, std::size_t bytes, Handle handle) override {
    return forward(Call::map, [&] { return next_.map(base, bytes, handle); });
  }
  Result unmap(Address base, std::size_t bytes) override {
    return forward(Call::unmap, [&] { return next_.unmap(base, bytes); });
  }
  Result set_access(Address base, std::size_t bytes, std::span<const int> devices) override {
    return forward(Call::set_access, [&] { return next_.set_access(base, bytes, devices); });
  }
  Result export_posix_fd(Handle handle, int& out) override {
    return forward(Call::export_posix_fd, [&] { return next_.export_posix_fd(handle, out); });
  }
  Result import_posix_fd(int fd, Handle& out) override {
    return forward(Call::import_posix_fd, [&] { return next_.import_posix_fd(fd, out); });
  }
  Result event_create(int device, Event& out) override {
    return forward(Call::event_create, [&] { return next_.event_create(device, out); });
  }
  Result event_destroy(int device, Event event) override {
    return forward(Call::event_destroy, [&] { return next_.event_destroy(device, event); });
  }
  Result event_record(int device, Event event, Stream stream) override {
    return forward(Call::event_record, [&] { return next_.event_record(device, event, stream); });
  }
  Result event_query(int device, Event event) override {
    return forward(Call::event_query, [&] { return next_.event_query(device, event); });
  }
  Result event_synchronize(int device, Event event) override {
    return forward(Call::event_synchronize, [&] { return next_.event_synchronize(device, event); });
  }
  Result stream_wait_event(int device, Stream stream, Event event) override {
    return forward(Call::stream_wait_event, [&] { return next_.stream_wait_event(device, stream, event); });
  }
  Result stream_synchronize(int device, Stream stream) override {
    return forward(Call::stream_synchronize, [&] { return next_.stream_synchronize(device, stream); });
  }
  Result device_synchronize(int device) override {
    return forward(Call::device_synchronize, [&] { return next_.device_synchronize(device); });
  }
  Result capture_info(int device, Stream stream, CaptureInfo& out) override {
    return forward(Call::capture_info, [&] { return next_.capture_info(device, stream, out); });
  }
  Result exchange_capture_mode(int& mode) override {
    return forward(Call::exchange_capture_mode, [&] { return next_.exchange_capture_mode(mode); });
  }
  const char* result_name(Result result) override { return next_.result_name(result); }

 protected:
  // Anything but ok is the call's result, and the call is not made.
  virtual Result before(Call /*call*/) { return Result::ok; }
  // Sees the result that the caller gets, whoever gave it.
  virtual void after(Call /*call*/, Result /*result*/) {}

  DriverOps& next() { return next_; }

 private:
  template <typename F>
  Result forward(Call call, F&& make) {
    Result result = before(call);
    if (result == Result::ok) result = make();
    after(call, result);
    return result;
  }

  DriverOps& next_;
};

}  // namespace gapless::driver

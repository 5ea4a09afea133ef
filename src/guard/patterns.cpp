// SPDX-License-Identifier: Apache-2.0
#include "guard/patterns.hpp"

#include "driver/failed.hpp"

namespace gapless::guard {

using constant::OnDevice;
using driver::Result;
using engine::RelaxedCapture;

gapless_guard_report* Patterns::room_of(int device) {
  const std::lock_guard guard(lock_);
  const auto found = rooms_.find(device);
  return found != rooms_.end() ? found->second : nullptr;
}

Status Patterns::make_room(int device, driver::Stream stream) {
  if (room_of(device) != nullptr) return Status::ok;
  void* room = nullptr;
  if (const Status status = allocator_.allocate(device, stream, sizeof(gapless_guard_report), &room);
      status != Status::ok)
    return status;
  // Other streams write it too, one after the other, each waited for.
  const RelaxedCapture relaxed(allocator_.ops());
  const Result result = allocator_.ops().stream_synchronize(device, stream);
  bool kept = false;
  if (result == Result::ok) {
    const std::lock_guard guard(lock_);
    kept = rooms_.emplace(device, static_cast<gapless_guard_report*>(room)).second;
  }
  if (!kept) static_cast<void>(allocator_.deallocate(room));
  return result == Result::ok ? Status::ok : driver::failed(allocator_.ops(), "cuStreamSynchronize", result);
}

Status Patterns::give_room_back(int device) {
  gapless_guard_report* room = nullptr;
  {
    const std::lock_guard one(one_compare_);
    room = room_of(device);
    const std::lock_guard guard(lock_);
    rooms_.erase(device);
  }
  return room != nullptr ? allocator_.deallocate(room) : Status::ok;
}

Status Patterns::bring(int device, driver::Stream stream, void* to, const void* from, std::size_t bytes) {
  if (const gapless_status status = kernels_.copy(to, from, bytes, stream); status != GAPLESS_OK)
    return kernels_.failed(status);
  const Result result = allocator_.ops().stream_synchronize(device, stream);
  return result == Result::ok ? Status::ok : driver::failed(allocator_.ops(), "cuStreamSynchronize", result);
}

Status Patterns::fill(int device, driver::Stream stream, std::span<const gapless_guard_range> ranges) {
  const RelaxedCapture relaxed(allocator_.ops());
  const OnDevice on(kernels_, device);
  gapless_status status = on.status();
  if (status == GAPLESS_OK) status = kernels_.guard_fill(ranges.data(), ranges.size(), stream);
  return status == GAPLESS_OK ? Status::ok : kernels_.failed(status);
}

Status Patterns::compare(int device, driver::Stream stream, std::span<const gapless_guard_range> ranges,
                         gapless_guard_report& out) {
  out = {~std::uint64_t{0}, 0};
  if (const Status status = make_room(device, stream); status != Status::ok) return status;
  const std::lock_guard one(one_compare_);
  gapless_guard_report* const room = room_of(device);
  if (room == nullptr) return base::fail(Status::busy, "the device's pools are being looked at");
  const RelaxedCapture relaxed(allocator_.ops());
  const OnDevice on(kernels_, device);
  gapless_status status = on.status();
  if (status == GAPLESS_OK) status = kernels_.guard_check(ranges.data(), ranges.size(), room, stream);
  return status == GAPLESS_OK ? bring(device, stream, &out, room, sizeof out) : kernels_.failed(status);
}

Status Patterns::read(int device, driver::Stream stream, std::uint64_t address, std::uint8_t& out) {
  const RelaxedCapture relaxed(allocator_.ops());
  const OnDevice on(kernels_, device);
  return on.status() == GAPLESS_OK ? bring(device, stream, &out, reinterpret_cast<const void*>(address), 1)
                                   : kernels_.failed(on.status());
}

Status Patterns::close() {
  Status status = Status::ok;
  for (const auto& [device, room] : rooms_)
    if (const Status one = allocator_.deallocate(room); one != Status::ok) status = one;
  rooms_.clear();
  return status;
}

}  // namespace gapless::guard

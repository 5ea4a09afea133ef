// SPDX-License-Identifier: Apache-2.0
#include "guard/patterns.hpp"

namespace gapless::guard {

using constant::OnDevice;
using driver::Result;
using engine::RelaxedCapture;

Status Patterns::make_room(int device, driver::Stream stream) {
  {
    const std::lock_guard guard(lock_);
    if (rooms_.find(device) != rooms_.end()) return Status::ok;
  }
  void* room = nullptr;
  if (const Status status = allocator_.allocate(device, stream, sizeof(gapless_guard_report), &room);
      status != Status::ok)
    return status;
  // Other streams write it too, one after the other, each waited for.
  static_cast<void>(allocator_.ops().stream_synchronize(device, stream));
  bool kept = false;
  {
    const std::lock_guard guard(lock_);
    kept = rooms_.emplace(device, static_cast<gapless_guard_report*>(room)).second;
  }
  return kept ? Status::ok : allocator_.deallocate(room);
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
  gapless_guard_report* room = nullptr;
  {
    const std::lock_guard guard(lock_);
    if (const auto found = rooms_.find(device); found != rooms_.end()) room = found->second;
  }
  if (room == nullptr) return base::fail(Status::not_found, "no block of the device is guarded");
  const std::lock_guard one(one_compare_);
  const RelaxedCapture relaxed(allocator_.ops());
  const OnDevice on(kernels_, device);
  gapless_status status = on.status();
  if (status == GAPLESS_OK) status = kernels_.guard_check(ranges.data(), ranges.size(), room, stream);
  if (status == GAPLESS_OK) status = kernels_.copy(&out, room, sizeof out, stream);
  if (status != GAPLESS_OK) return kernels_.failed(status);
  const Result result = allocator_.ops().stream_synchronize(device, stream);
  if (result == Result::ok) return Status::ok;
  return base::fail_driver("cuStreamSynchronize", static_cast<int>(result), allocator_.ops().result_name(result));
}

Status Patterns::read(int device, driver::Stream stream, std::uint64_t address, std::uint8_t& out) {
  const RelaxedCapture relaxed(allocator_.ops());
  const OnDevice on(kernels_, device);
  gapless_status status = on.status();
  if (status == GAPLESS_OK) status = kernels_.copy(&out, reinterpret_cast<const void*>(address), 1, stream);
  if (status != GAPLESS_OK) return kernels_.failed(status);
  const Result result = allocator_.ops().stream_synchronize(device, stream);
  if (result == Result::ok) return Status::ok;
  return base::fail_driver("cuStreamSynchronize", static_cast<int>(result), allocator_.ops().result_name(result));
}

Status Patterns::close() {
  Status status = Status::ok;
  for (const auto& [device, room] : rooms_)
    if (const Status one = allocator_.deallocate(room); one != Status::ok) status = one;
  rooms_.clear();
  return status;
}

}  // namespace gapless::guard

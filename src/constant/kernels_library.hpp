// SPDX-License-Identifier: Apache-2.0
// libgapless_kernels.so, opened at first use: libgapless.so loads where there is no CUDA runtime.
#pragma once

#include <cstdint>

#include "base/status.hpp"
#include "gapless_kernels.h"

namespace gapless::constant {

struct KernelsLibrary {
  decltype(&gapless_kernels_last_error) last_error = nullptr;
  decltype(&gapless_kernels_pad_length) pad_length = nullptr;
  decltype(&gapless_kernels_pad) pad = nullptr;
  decltype(&gapless_kernels_copy) copy = nullptr;
  decltype(&gapless_kernels_enter_device) enter_device = nullptr;
  decltype(&gapless_kernels_leave_device) leave_device = nullptr;
  decltype(&gapless_kernels_guard_fill) guard_fill = nullptr;
  decltype(&gapless_kernels_guard_check) guard_check = nullptr;
  decltype(&gapless_kernels_guard_byte) guard_byte = nullptr;

  // Beside libgapless.so, else where the loader finds it. Errors: UNSUPPORTED, with the loader's words. One that could
  // not be opened is looked for again at the next call.
  static Status open(const KernelsLibrary*& out);

  // The library's failure as this one's.
  Status failed(gapless_status status) const { return base::fail(static_cast<Status>(status), last_error()); }
};

// A device is the thread's current one as long as this lives: a launch goes there.
class OnDevice {
 public:
  OnDevice(const KernelsLibrary& kernels, int device)
      : kernels_(kernels), status_(kernels.enter_device(device, &entered_)) {}
  ~OnDevice() { kernels_.leave_device(entered_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  gapless_status status() const { return status_; }

 private:
  const KernelsLibrary& kernels_;
  std::int32_t entered_ = 0;
  const gapless_status status_;
};

}  // namespace gapless::constant

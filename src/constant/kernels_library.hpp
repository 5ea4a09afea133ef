// SPDX-License-Identifier: Apache-2.0
// libgapless_kernels.so, opened at first use: libgapless.so loads where there is no CUDA runtime.
#pragma once

#include "base/status.hpp"
#include "gapless_kernels.h"

namespace gapless::constant {

struct KernelsLibrary {
  decltype(&gapless_kernels_last_error) last_error = nullptr;
  decltype(&gapless_kernels_pad_length) pad_length = nullptr;
  decltype(&gapless_kernels_pad) pad = nullptr;
  decltype(&gapless_kernels_copy) copy = nullptr;
  decltype(&gapless_kernels_exchange_device) exchange_device = nullptr;

  // Beside libgapless.so, else where the loader finds it. Errors: UNSUPPORTED, with the loader's words. One that could
  // not be opened is looked for again at the next call.
  static Status open(const KernelsLibrary*& out);

  // The library's failure as this one's.
  Status failed(gapless_status status) const { return base::fail(static_cast<Status>(status), last_error()); }
};

}  // namespace gapless::constant

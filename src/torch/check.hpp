// SPDX-License-Identifier: Apache-2.0
//
// From gapless_status to PyTorch's exceptions.
#pragma once

#include <c10/util/Exception.h>

#include "compat.hpp"
#include "gapless/gapless.h"

namespace gapless::torch {

/// Throws for any status but GAPLESS_OK: the CUDA error itself as PyTorch raises it (c10::AcceleratorError),
/// NotImplementedError for what is not supported, else c10::Error with gapless's own words. Must be called before the
/// thread's next call into gapless, which owns the detail.
inline void check(gapless_status status, const char* operation) {
  if (C10_LIKELY(status == GAPLESS_OK)) return;
  const std::string detail = gapless_last_error();
  if (status == GAPLESS_ERROR_DRIVER) {
    // The driver's result codes and the runtime's agree for the errors a device reports (700 illegal address, 719
    // launch failure, ...), and PyTorch's check adds its own advice on them.
    C10_CUDA_CHECK(static_cast<cudaError_t>(gapless_last_driver_error()));
  }
  TORCH_CHECK_NOT_IMPLEMENTED(status != GAPLESS_ERROR_UNSUPPORTED, "gapless does not support ", operation,
                              detail.empty() ? "" : ": ", detail);
  TORCH_CHECK(false, "gapless: ", operation, ": ", gapless_status_name(status), detail.empty() ? "" : ": ", detail);
}

inline gapless_pool_id pool_id(const MempoolId_t& pool) {
  gapless_pool_id id{};
  id.high = pool.first;
  id.low = pool.second;
  return id;
}

inline MempoolId_t mempool_id(const gapless_pool_id& pool) {
  return {pool.high, pool.low};
}

}  // namespace gapless::torch

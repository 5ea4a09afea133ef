// SPDX-License-Identifier: Apache-2.0
// CUmemAccess_flags and what the machine calls them.
#pragma once

#include <cuda.h>

#include "simcuda/driver/process.hpp"

namespace gapless::simcuda {

inline CUresult permission_of(CUmemAccess_flags flags, Machine::Permission& out) {
  switch (flags) {
    case CU_MEM_ACCESS_FLAGS_PROT_NONE:
      out = Machine::Permission::none;
      return CUDA_SUCCESS;
    case CU_MEM_ACCESS_FLAGS_PROT_READ:
      out = Machine::Permission::read;
      return CUDA_SUCCESS;
    case CU_MEM_ACCESS_FLAGS_PROT_READWRITE:
      out = Machine::Permission::read_write;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

inline CUmemAccess_flags flags_of(Machine::Permission permission) {
  switch (permission) {
    case Machine::Permission::read_write:
      return CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    case Machine::Permission::read:
      return CU_MEM_ACCESS_FLAGS_PROT_READ;
    default:
      return CU_MEM_ACCESS_FLAGS_PROT_NONE;
  }
}

}  // namespace gapless::simcuda

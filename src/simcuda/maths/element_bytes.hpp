// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <library_types.h>

#include <cstddef>

namespace gapless::simcuda {

// Bytes of one element of a matrix. The small types count as one byte: too little is judged rather than too much.
inline std::size_t element_bytes(cudaDataType type) {
  switch (type) {
    case CUDA_R_64F:
    case CUDA_C_32F:
      return 8;
    case CUDA_C_64F:
      return 16;
    case CUDA_R_16F:
    case CUDA_R_16BF:
      return 2;
    case CUDA_R_32F:
    case CUDA_R_32I:
    case CUDA_C_16F:
    case CUDA_C_16BF:
      return 4;
    default:
      return 1;
  }
}

}  // namespace gapless::simcuda

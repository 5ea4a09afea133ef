// SPDX-License-Identifier: Apache-2.0
// cuDNN's descriptors: as much of them as sizes depend on.
#pragma once

#include <cudnn.h>

#include <algorithm>
#include <cstddef>

#include "simcuda/maths/api.hpp"

#define GAPLESS_SIM_CUDNN extern "C" GAPLESS_SIM_EXPORT cudnnStatus_t CUDNNWINAPI

#define GAPLESS_SIM_CUDNN_REQUIRE(condition) \
  if (!(condition)) return CUDNN_STATUS_BAD_PARAM

namespace gapless::simcuda {

struct CudnnHandle {
  cudaStream_t stream = nullptr;
};

// A tensor or a filter.
struct CudnnTensor {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  cudnnTensorFormat_t format = CUDNN_TENSOR_NCHW;
  int dimensions = 0;
  int sizes[CUDNN_DIM_MAX] = {};
  int strides[CUDNN_DIM_MAX] = {};

  std::size_t element_bytes() const {
    switch (type) {
      case CUDNN_DATA_DOUBLE:
      case CUDNN_DATA_INT64:
        return 8;
      case CUDNN_DATA_HALF:
      case CUDNN_DATA_BFLOAT16:
        return 2;
      case CUDNN_DATA_INT8:
      case CUDNN_DATA_UINT8:
      case CUDNN_DATA_BOOLEAN:
        return 1;
      default:
        return 4;
    }
  }

  std::size_t bytes() const {
    std::size_t total = element_bytes();
    for (int axis = 0; axis < dimensions; ++axis) total *= static_cast<std::size_t>(sizes[axis]);
    return total;
  }

  // bytes() where the elements have no holes between them, else 0.
  std::size_t dense_bytes() const {
    std::size_t last = 0;  // the highest element
    bool has_strides = false;
    for (int axis = 0; axis < dimensions; ++axis) {
      if (sizes[axis] < 1 || strides[axis] < 0) return 0;
      has_strides = has_strides || strides[axis] != 0;
      last += static_cast<std::size_t>(sizes[axis] - 1) * static_cast<std::size_t>(strides[axis]);
    }
    return !has_strides || (last + 1) * element_bytes() == bytes() ? bytes() : 0;
  }

  cudnnStatus_t set(cudnnDataType_t data_type, int count, const int* size, const int* stride) {
    if (count < 1 || count > CUDNN_DIM_MAX || size == nullptr) return CUDNN_STATUS_BAD_PARAM;
    type = data_type;
    dimensions = count;
    std::copy_n(size, count, sizes);
    if (stride != nullptr) std::copy_n(stride, count, strides);
    return CUDNN_STATUS_SUCCESS;
  }
};

struct CudnnRnn {
  cudnnRNNMode_t mode = CUDNN_LSTM;
  cudnnRNNBiasMode_t bias = CUDNN_RNN_DOUBLE_BIAS;
  cudnnDirectionMode_t direction = CUDNN_UNIDIRECTIONAL;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  int input_size = 0;
  int hidden_size = 0;
  int projected_size = 0;
  int layers = 0;
};

struct CudnnRnnData {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  int max_length = 0;
  int batch = 0;
  int vector = 0;
};

// Handles are pointers to these; cuDNN's own opaque types stay opaque.
inline CudnnTensor* tensor_of(const void* handle) {
  return static_cast<CudnnTensor*>(const_cast<void*>(handle));
}

template <typename Kept, typename Handle>
cudnnStatus_t create_descriptor(Handle* out) {
  if (out == nullptr) return CUDNN_STATUS_BAD_PARAM;
  *out = reinterpret_cast<Handle>(new Kept);
  return CUDNN_STATUS_SUCCESS;
}

template <typename Kept, typename Handle>
cudnnStatus_t destroy_descriptor(Handle handle) {
  delete reinterpret_cast<Kept*>(handle);
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace gapless::simcuda

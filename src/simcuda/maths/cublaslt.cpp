// SPDX-License-Identifier: Apache-2.0
// Descriptors keep the attributes that are set, so that they can be read back; one heuristic answer, without workspace.
#include <cublasLt.h>

#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "simcuda/internal.hpp"
#include "simcuda/maths/api.hpp"
#include "simcuda/maths/element_bytes.hpp"

struct cublasLtContext {};

namespace {

using Attributes = std::map<int, std::vector<unsigned char>>;

template <typename Handle>
cublasStatus_t create(Handle* out) {
  if (out == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *out = reinterpret_cast<Handle>(new Attributes);
  return CUBLAS_STATUS_SUCCESS;
}

template <typename Handle>
cublasStatus_t destroy(Handle handle) {
  delete reinterpret_cast<const Attributes*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

template <typename Handle>
cublasStatus_t set(Handle handle, int attribute, const void* value, size_t bytes) {
  if (handle == nullptr || value == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  const auto* first = static_cast<const unsigned char*>(value);
  (*reinterpret_cast<Attributes*>(handle))[attribute].assign(first, first + bytes);
  return CUBLAS_STATUS_SUCCESS;
}

// An attribute that was never set reads as zeros, the default of most.
template <typename Handle>
cublasStatus_t get(Handle handle, int attribute, void* value, size_t bytes, size_t* written) {
  if (handle == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  const auto* attributes = reinterpret_cast<const Attributes*>(handle);
  const auto found = attributes->find(attribute);
  const size_t known = found != attributes->end() ? found->second.size() : bytes;
  if (written != nullptr) *written = known;
  if (value == nullptr) return CUBLAS_STATUS_SUCCESS;
  if (bytes < known) return CUBLAS_STATUS_INVALID_VALUE;
  std::memset(value, 0, bytes);
  if (found != attributes->end()) std::memcpy(value, found->second.data(), known);
  return CUBLAS_STATUS_SUCCESS;
}

template <typename T>
T attribute(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t which, T otherwise) {
  const auto* attributes = reinterpret_cast<const Attributes*>(layout);
  const auto found = attributes->find(which);
  if (found == attributes->end() || found->second.size() < sizeof(T)) return otherwise;
  T value;
  std::memcpy(&value, found->second.data(), sizeof value);
  return value;
}

// What a plain matrix takes; nothing where the layout is one of the tiled orders.
gapless_sim_range range_of(const void* data, cublasLtMatrixLayout_t layout, bool write) {
  if (layout == nullptr || data == nullptr) return {data, 0, write};
  const auto order = attribute<int32_t>(layout, CUBLASLT_MATRIX_LAYOUT_ORDER, CUBLASLT_ORDER_COL);
  if (order != CUBLASLT_ORDER_COL && order != CUBLASLT_ORDER_ROW) return {data, 0, write};
  auto rows = attribute<uint64_t>(layout, CUBLASLT_MATRIX_LAYOUT_ROWS, 0);
  auto columns = attribute<uint64_t>(layout, CUBLASLT_MATRIX_LAYOUT_COLS, 0);
  if (order == CUBLASLT_ORDER_ROW) std::swap(rows, columns);
  const auto leading = static_cast<uint64_t>(attribute<int64_t>(layout, CUBLASLT_MATRIX_LAYOUT_LD, 0));
  const auto batch = static_cast<uint64_t>(attribute<int32_t>(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, 1));
  const auto stride = static_cast<uint64_t>(attribute<int64_t>(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, 0));
  if (rows == 0 || columns == 0 || batch == 0) return {data, 0, write};
  const auto type = attribute<cudaDataType>(layout, CUBLASLT_MATRIX_LAYOUT_TYPE, CUDA_R_32F);
  return {data, ((batch - 1) * stride + (columns - 1) * leading + rows) * gapless::simcuda::element_bytes(type), write};
}

cublasStatus_t enqueue(const char* name, cudaStream_t stream) {
  return gapless_sim_operation(name, stream) == CUDA_SUCCESS ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace

#define GAPLESS_SIM_LT extern "C" GAPLESS_SIM_EXPORT cublasStatus_t CUBLASWINAPI

#define GAPLESS_SIM_LT_DESCRIPTOR(kind, ...)                                                  \
  GAPLESS_SIM_LT cublasLt##kind##Create(cublasLt##kind##_t* out __VA_OPT__(, ) __VA_ARGS__) { \
    GAPLESS_SIM_MATHS_CALL("cublasLt" #kind "Create");                                        \
    return create(out);                                                                       \
  }                                                                                           \
  GAPLESS_SIM_LT_ATTRIBUTES(kind)

#define GAPLESS_SIM_LT_ATTRIBUTES(kind)                                                                              \
  GAPLESS_SIM_LT cublasLt##kind##Destroy(cublasLt##kind##_t descriptor) {                                            \
    GAPLESS_SIM_MATHS_CALL("cublasLt" #kind "Destroy");                                                              \
    return destroy(descriptor);                                                                                      \
  }                                                                                                                  \
  GAPLESS_SIM_LT cublasLt##kind##SetAttribute(cublasLt##kind##_t descriptor, cublasLt##kind##Attributes_t attribute, \
                                              const void* value, size_t bytes) {                                     \
    GAPLESS_SIM_MATHS_CALL("cublasLt" #kind "SetAttribute");                                                         \
    return set(descriptor, attribute, value, bytes);                                                                 \
  }                                                                                                                  \
  GAPLESS_SIM_LT cublasLt##kind##GetAttribute(cublasLt##kind##_t descriptor, cublasLt##kind##Attributes_t attribute, \
                                              void* value, size_t bytes, size_t* written) {                          \
    GAPLESS_SIM_MATHS_CALL("cublasLt" #kind "GetAttribute");                                                         \
    return get(descriptor, attribute, value, bytes, written);                                                        \
  }

using cublasLtMatrixLayoutAttributes_t = cublasLtMatrixLayoutAttribute_t;

GAPLESS_SIM_LT_DESCRIPTOR(MatmulDesc, cublasComputeType_t, cudaDataType_t)
GAPLESS_SIM_LT_DESCRIPTOR(MatrixTransformDesc, cudaDataType)
GAPLESS_SIM_LT_DESCRIPTOR(MatmulPreference)

GAPLESS_SIM_LT_ATTRIBUTES(MatrixLayout)

GAPLESS_SIM_LT cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* out, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t leading) {
  GAPLESS_SIM_MATHS_CALL("cublasLtMatrixLayoutCreate");
  const cublasStatus_t status = create(out);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  set(*out, CUBLASLT_MATRIX_LAYOUT_TYPE, &type, sizeof type);
  set(*out, CUBLASLT_MATRIX_LAYOUT_ROWS, &rows, sizeof rows);
  set(*out, CUBLASLT_MATRIX_LAYOUT_COLS, &columns, sizeof columns);
  return set(*out, CUBLASLT_MATRIX_LAYOUT_LD, &leading, sizeof leading);
}

GAPLESS_SIM_LT cublasLtCreate(cublasLtHandle_t* out) {
  GAPLESS_SIM_MATHS_CALL("cublasLtCreate");
  if (out == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *out = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}

GAPLESS_SIM_LT cublasLtDestroy(cublasLtHandle_t handle) {
  GAPLESS_SIM_MATHS_CALL("cublasLtDestroy");
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

extern "C" GAPLESS_SIM_EXPORT size_t CUBLASWINAPI cublasLtGetVersion(void) {
  return CUBLAS_VERSION;
}

extern "C" GAPLESS_SIM_EXPORT size_t CUBLASWINAPI cublasLtGetCudartVersion(void) {
  return CUDART_VERSION;
}

GAPLESS_SIM_LT cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t, int requested,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  GAPLESS_SIM_MATHS_CALL("cublasLtMatmulAlgoGetHeuristic");
  if (results == nullptr || found == nullptr || requested < 1) return CUBLAS_STATUS_INVALID_VALUE;
  std::memset(results, 0, sizeof *results);
  results->state = CUBLAS_STATUS_SUCCESS;
  results->wavesCount = 1;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

GAPLESS_SIM_LT cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t, const void*, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void*, const void*, cublasLtMatrixLayout_t, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t*, void*, size_t,
                              cudaStream_t stream) {
  GAPLESS_SIM_MATHS_CALL("cublasLtMatmul");
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const gapless_sim_range ranges[] = {range_of(a, a_layout, false), range_of(b, b_layout, false),
                                      range_of(d, d_layout, true)};
  const CUresult result = gapless_sim_operation_on("cublasLtMatmul", stream, ranges, std::size(ranges));
  return result == CUDA_SUCCESS ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

GAPLESS_SIM_LT cublasLtMatrixTransform(cublasLtHandle_t handle, cublasLtMatrixTransformDesc_t, const void*, const void*,
                                       cublasLtMatrixLayout_t, const void*, const void*, cublasLtMatrixLayout_t, void*,
                                       cublasLtMatrixLayout_t, cudaStream_t stream) {
  GAPLESS_SIM_MATHS_CALL("cublasLtMatrixTransform");
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  return enqueue("cublasLtMatrixTransform", stream);
}

// SPDX-License-Identifier: Apache-2.0
#include <cublas_v2.h>

#include <iterator>

#include "simcuda/internal.hpp"
#include "simcuda/maths/api.hpp"
#include "simcuda/maths/element_bytes.hpp"
#include "simcuda/trampoline.hpp"

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasPointerMode_t pointer_mode = CUBLAS_POINTER_MODE_HOST;
  cublasMath_t math_mode = CUBLAS_DEFAULT_MATH;
  cublasAtomicsMode_t atomics_mode = CUBLAS_ATOMICS_NOT_ALLOWED;
};

#define GAPLESS_SIM_CUBLAS extern "C" GAPLESS_SIM_EXPORT cublasStatus_t CUBLASWINAPI

#define GAPLESS_SIM_REQUIRE_HANDLE(handle) \
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED

int gapless_sim_routine(const char* name, void* handle) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const CUresult result = gapless_sim_operation(name, static_cast<cublasHandle_t>(handle)->stream);
  return result == CUDA_SUCCESS ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

GAPLESS_SIM_CUBLAS cublasCreate(cublasHandle_t* out) {
  GAPLESS_SIM_MATHS_CALL("cublasCreate");
  if (out == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *out = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}

GAPLESS_SIM_CUBLAS cublasDestroy(cublasHandle_t handle) {
  GAPLESS_SIM_MATHS_CALL("cublasDestroy");
  GAPLESS_SIM_REQUIRE_HANDLE(handle);
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

GAPLESS_SIM_CUBLAS cublasGetVersion(cublasHandle_t, int* version) {
  GAPLESS_SIM_MATHS_CALL("cublasGetVersion");
  if (version == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *version = CUBLAS_VERSION;
  return CUBLAS_STATUS_SUCCESS;
}

GAPLESS_SIM_CUBLAS cublasGetProperty(libraryPropertyType type, int* value) {
  GAPLESS_SIM_MATHS_CALL("cublasGetProperty");
  if (value == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *value = type == MAJOR_VERSION ? CUBLAS_VER_MAJOR : type == MINOR_VERSION ? CUBLAS_VER_MINOR : CUBLAS_VER_PATCH;
  return CUBLAS_STATUS_SUCCESS;
}

extern "C" GAPLESS_SIM_EXPORT size_t CUBLASWINAPI cublasGetCudartVersion(void) {
  return CUDART_VERSION;
}

GAPLESS_SIM_CUBLAS cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  GAPLESS_SIM_MATHS_CALL("cublasSetStream");
  GAPLESS_SIM_REQUIRE_HANDLE(handle);
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

GAPLESS_SIM_CUBLAS cublasGetStream(cublasHandle_t handle, cudaStream_t* stream) {
  GAPLESS_SIM_MATHS_CALL("cublasGetStream");
  GAPLESS_SIM_REQUIRE_HANDLE(handle);
  if (stream == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *stream = handle->stream;
  return CUBLAS_STATUS_SUCCESS;
}

GAPLESS_SIM_CUBLAS cublasSetPointerMode(cublasHandle_t handle, cublasPointerMode_t mode) {
  GAPLESS_SIM_MATHS_CALL("cublasSetPointerMode");
  GAPLESS_SIM_REQUIRE_HANDLE(handle);
  handle->pointer_mode = mode;
  return CUBLAS_STATUS_SUCCESS;
}

GAPLESS_SIM_CUBLAS cublasGetPointerMode(cublasHandle_t handle, cublasPointerMode_t* mode) {
  GAPLESS_SIM_MATHS_CALL("cublasGetPointerMode");
  GAPLESS_SIM_REQUIRE_HANDLE(handle);
  if (mode == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *mode = handle->pointer_mode;
  return CUBLAS_STATUS_SUCCESS;
}

GAPLESS_SIM_CUBLAS cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  GAPLESS_SIM_MATHS_CALL("cublasSetMathMode");
  GAPLESS_SIM_REQUIRE_HANDLE(handle);
  handle->math_mode = mode;
  return CUBLAS_STATUS_SUCCESS;
}

GAPLESS_SIM_CUBLAS cublasGetMathMode(cublasHandle_t handle, cublasMath_t* mode) {
  GAPLESS_SIM_MATHS_CALL("cublasGetMathMode");
  GAPLESS_SIM_REQUIRE_HANDLE(handle);
  if (mode == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *mode = handle->math_mode;
  return CUBLAS_STATUS_SUCCESS;
}

GAPLESS_SIM_CUBLAS cublasSetAtomicsMode(cublasHandle_t handle, cublasAtomicsMode_t mode) {
  GAPLESS_SIM_MATHS_CALL("cublasSetAtomicsMode");
  GAPLESS_SIM_REQUIRE_HANDLE(handle);
  handle->atomics_mode = mode;
  return CUBLAS_STATUS_SUCCESS;
}

GAPLESS_SIM_CUBLAS cublasGetAtomicsMode(cublasHandle_t handle, cublasAtomicsMode_t* mode) {
  GAPLESS_SIM_MATHS_CALL("cublasGetAtomicsMode");
  GAPLESS_SIM_REQUIRE_HANDLE(handle);
  if (mode == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *mode = handle->atomics_mode;
  return CUBLAS_STATUS_SUCCESS;
}

extern "C" GAPLESS_SIM_EXPORT const char* CUBLASWINAPI cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_MAPPING_ERROR:
      return "CUBLAS_STATUS_MAPPING_ERROR";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "CUBLAS_STATUS_UNKNOWN";
  }
}

extern "C" GAPLESS_SIM_EXPORT const char* CUBLASWINAPI cublasGetStatusString(cublasStatus_t status) {
  return cublasGetStatusName(status);
}

// Matrix products: strict mode judges what they read and write. Matrices lie column by column.
namespace {

struct Matrix {
  const void* data = nullptr;
  cudaDataType type = CUDA_R_32F;
  int leading = 0;
  long long stride = 0;  // elements from one of a batch to the next
};

gapless_sim_range range_of(const Matrix& matrix, int rows, int columns, int batch, bool write) {
  if (rows <= 0 || columns <= 0 || batch <= 0) return {matrix.data, 0, write};
  const auto last = static_cast<std::size_t>(columns - 1) * static_cast<std::size_t>(matrix.leading) +
                    static_cast<std::size_t>(batch - 1) * static_cast<std::size_t>(matrix.stride);
  return {matrix.data, (last + static_cast<std::size_t>(rows)) * gapless::simcuda::element_bytes(matrix.type), write};
}

cublasStatus_t product(const char* name, cublasHandle_t handle, cublasOperation_t a_op, cublasOperation_t b_op, int m,
                       int n, int k, const Matrix& a, const Matrix& b, const Matrix& c, int batch) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const bool a_plain = a_op == CUBLAS_OP_N;
  const bool b_plain = b_op == CUBLAS_OP_N;
  const gapless_sim_range ranges[] = {range_of(a, a_plain ? m : k, a_plain ? k : m, batch, false),
                                      range_of(b, b_plain ? k : n, b_plain ? n : k, batch, false),
                                      range_of(c, m, n, batch, true)};
  const CUresult result = gapless_sim_operation_on(name, handle->stream, ranges, std::size(ranges));
  return result == CUDA_SUCCESS ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace

#define GAPLESS_SIM_GEMM(name, type, data_type)                                                                        \
  GAPLESS_SIM_CUBLAS name(cublasHandle_t handle, cublasOperation_t a_op, cublasOperation_t b_op, int m, int n, int k,  \
                          const type*, const type* a, int lda, const type* b, int ldb, const type*, type* c,           \
                          int ldc) {                                                                                   \
    GAPLESS_SIM_MATHS_CALL(#name);                                                                                     \
    return product(#name, handle, a_op, b_op, m, n, k, {a, data_type, lda}, {b, data_type, ldb}, {c, data_type, ldc},  \
                   1);                                                                                                 \
  }                                                                                                                    \
  GAPLESS_SIM_CUBLAS name##StridedBatched(cublasHandle_t handle, cublasOperation_t a_op, cublasOperation_t b_op,       \
                                          int m, int n, int k, const type*, const type* a, int lda,                    \
                                          long long a_stride, const type* b, int ldb, long long b_stride, const type*, \
                                          type* c, int ldc, long long c_stride, int batch) {                           \
    GAPLESS_SIM_MATHS_CALL(#name "StridedBatched");                                                                    \
    return product(#name "StridedBatched", handle, a_op, b_op, m, n, k, {a, data_type, lda, a_stride},                 \
                   {b, data_type, ldb, b_stride}, {c, data_type, ldc, c_stride}, batch);                               \
  }

GAPLESS_SIM_GEMM(cublasSgemm, float, CUDA_R_32F)
GAPLESS_SIM_GEMM(cublasDgemm, double, CUDA_R_64F)

GAPLESS_SIM_CUBLAS cublasGemmEx(cublasHandle_t handle, cublasOperation_t a_op, cublasOperation_t b_op, int m, int n,
                                int k, const void*, const void* a, cudaDataType a_type, int lda, const void* b,
                                cudaDataType b_type, int ldb, const void*, void* c, cudaDataType c_type, int ldc,
                                cublasComputeType_t, cublasGemmAlgo_t) {
  GAPLESS_SIM_MATHS_CALL("cublasGemmEx");
  return product("cublasGemmEx", handle, a_op, b_op, m, n, k, {a, a_type, lda}, {b, b_type, ldb}, {c, c_type, ldc}, 1);
}

GAPLESS_SIM_CUBLAS cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t a_op, cublasOperation_t b_op,
                                              int m, int n, int k, const void*, const void* a, cudaDataType a_type,
                                              int lda, long long a_stride, const void* b, cudaDataType b_type, int ldb,
                                              long long b_stride, const void*, void* c, cudaDataType c_type, int ldc,
                                              long long c_stride, int batch, cublasComputeType_t, cublasGemmAlgo_t) {
  GAPLESS_SIM_MATHS_CALL("cublasGemmStridedBatchedEx");
  return product("cublasGemmStridedBatchedEx", handle, a_op, b_op, m, n, k, {a, a_type, lda, a_stride},
                 {b, b_type, ldb, b_stride}, {c, c_type, ldc, c_stride}, batch);
}

// Reductions answer into host memory in host pointer mode: the simulation's answer to every one of them is zero, as if
// the device's memory were zeros, instead of whatever the caller's variable held.
#define GAPLESS_SIM_REDUCTION(name, type, result_type)                                         \
  GAPLESS_SIM_CUBLAS name(cublasHandle_t handle, int, const type*, int, result_type* result) { \
    GAPLESS_SIM_MATHS_CALL(#name);                                                             \
    GAPLESS_SIM_REQUIRE_HANDLE(handle);                                                        \
    if (handle->pointer_mode == CUBLAS_POINTER_MODE_HOST && result != nullptr) *result = {};   \
    return static_cast<cublasStatus_t>(gapless_sim_routine(#name, handle));                    \
  }

#define GAPLESS_SIM_DOT(name, type)                                                                       \
  GAPLESS_SIM_CUBLAS name(cublasHandle_t handle, int, const type*, int, const type*, int, type* result) { \
    GAPLESS_SIM_MATHS_CALL(#name);                                                                        \
    GAPLESS_SIM_REQUIRE_HANDLE(handle);                                                                   \
    if (handle->pointer_mode == CUBLAS_POINTER_MODE_HOST && result != nullptr) *result = {};              \
    return static_cast<cublasStatus_t>(gapless_sim_routine(#name, handle));                               \
  }

GAPLESS_SIM_DOT(cublasSdot, float)
GAPLESS_SIM_DOT(cublasDdot, double)
GAPLESS_SIM_DOT(cublasCdotu, cuComplex)
GAPLESS_SIM_DOT(cublasCdotc, cuComplex)
GAPLESS_SIM_DOT(cublasZdotu, cuDoubleComplex)
GAPLESS_SIM_DOT(cublasZdotc, cuDoubleComplex)
GAPLESS_SIM_REDUCTION(cublasSnrm2, float, float)
GAPLESS_SIM_REDUCTION(cublasDnrm2, double, double)
GAPLESS_SIM_REDUCTION(cublasScnrm2, cuComplex, float)
GAPLESS_SIM_REDUCTION(cublasDznrm2, cuDoubleComplex, double)
GAPLESS_SIM_REDUCTION(cublasSasum, float, float)
GAPLESS_SIM_REDUCTION(cublasDasum, double, double)
GAPLESS_SIM_REDUCTION(cublasIsamax, float, int)
GAPLESS_SIM_REDUCTION(cublasIdamax, double, int)

// SPDX-License-Identifier: Apache-2.0
#include <cublas_v2.h>

#include "simcuda/internal.hpp"
#include "simcuda/maths/api.hpp"
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

// SPDX-License-Identifier: Apache-2.0
// Memory and events of other processes.
#include <cstring>

#include "simcuda/runtime/api.hpp"

using namespace gapless::simcuda;

static_assert(sizeof(cudaIpcMemHandle_t) == sizeof(CUipcMemHandle));
static_assert(sizeof(cudaIpcEventHandle_t) == sizeof(CUipcEventHandle));

GAPLESS_SIM_RUNTIME_API cudaIpcGetMemHandle(cudaIpcMemHandle_t* out, void* pointer) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaIpcGetMemHandle");
  return finish(cuIpcGetMemHandle(reinterpret_cast<CUipcMemHandle*>(out), reinterpret_cast<CUdeviceptr>(pointer)));
}

GAPLESS_SIM_RUNTIME_API cudaIpcOpenMemHandle(void** out, cudaIpcMemHandle_t handle, unsigned flags) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaIpcOpenMemHandle");
  CUipcMemHandle given;
  std::memcpy(&given, &handle, sizeof given);
  return finish(cuIpcOpenMemHandle(reinterpret_cast<CUdeviceptr*>(out), given, flags));
}

GAPLESS_SIM_RUNTIME_API cudaIpcCloseMemHandle(void* pointer) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaIpcCloseMemHandle");
  return finish(cuIpcCloseMemHandle(reinterpret_cast<CUdeviceptr>(pointer)));
}

GAPLESS_SIM_RUNTIME_API cudaIpcGetEventHandle(cudaIpcEventHandle_t* out, cudaEvent_t event) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaIpcGetEventHandle");
  return finish(cuIpcGetEventHandle(reinterpret_cast<CUipcEventHandle*>(out), event));
}

GAPLESS_SIM_RUNTIME_API cudaIpcOpenEventHandle(cudaEvent_t* out, cudaIpcEventHandle_t handle) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaIpcOpenEventHandle");
  CUipcEventHandle given;
  std::memcpy(&given, &handle, sizeof given);
  return finish(cuIpcOpenEventHandle(out, given));
}

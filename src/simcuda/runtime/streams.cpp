// SPDX-License-Identifier: Apache-2.0
// Streams and events. Flags have the driver's numbers.
#include <memory>

#include "simcuda/runtime/api.hpp"

using namespace gapless::simcuda;

namespace {

struct Callback {
  cudaStreamCallback_t function;
  void* user;
};

void CUDA_CB run_callback(CUstream stream, CUresult result, void* user) {
  const std::unique_ptr<Callback> callback(static_cast<Callback*>(user));
  callback->function(stream, static_cast<cudaError_t>(result), callback->user);
}

}  // namespace

GAPLESS_SIM_RUNTIME_API cudaStreamCreate(cudaStream_t* out) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamCreate");
  return finish(cuStreamCreate(out, CU_STREAM_DEFAULT));
}

GAPLESS_SIM_RUNTIME_API cudaStreamCreateWithFlags(cudaStream_t* out, unsigned flags) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamCreateWithFlags");
  return finish(cuStreamCreate(out, flags));
}

GAPLESS_SIM_RUNTIME_API cudaStreamCreateWithPriority(cudaStream_t* out, unsigned flags, int priority) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamCreateWithPriority");
  return finish(cuStreamCreateWithPriority(out, flags, priority));
}

GAPLESS_SIM_RUNTIME_API cudaStreamDestroy(cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamDestroy");
  return finish(cuStreamDestroy(stream));
}

GAPLESS_SIM_RUNTIME_API cudaStreamQuery(cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamQuery");
  return finish(cuStreamQuery(resolve_stream(stream)));
}

GAPLESS_SIM_RUNTIME_API cudaStreamSynchronize(cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamSynchronize");
  return finish(cuStreamSynchronize(resolve_stream(stream)));
}

GAPLESS_SIM_RUNTIME_API cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamWaitEvent");
  return finish(cuStreamWaitEvent(resolve_stream(stream), event, flags));
}

GAPLESS_SIM_RUNTIME_API cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamGetPriority");
  return finish(cuStreamGetPriority(resolve_stream(stream), priority));
}

GAPLESS_SIM_RUNTIME_API cudaStreamGetFlags(cudaStream_t stream, unsigned* flags) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamGetFlags");
  return finish(cuStreamGetFlags(resolve_stream(stream), flags));
}

GAPLESS_SIM_RUNTIME_API cudaStreamGetId(cudaStream_t stream, unsigned long long* id) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamGetId");
  return finish(cuStreamGetId(resolve_stream(stream), id));
}

GAPLESS_SIM_RUNTIME_API cudaStreamGetDevice(cudaStream_t stream, int* device) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamGetDevice");
  return finish(cuStreamGetDevice(resolve_stream(stream), device));
}

GAPLESS_SIM_RUNTIME_API cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* user) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaLaunchHostFunc");
  return finish(cuLaunchHostFunc(resolve_stream(stream), function, user));
}

GAPLESS_SIM_RUNTIME_API cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t callback, void* user,
                                              unsigned flags) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamAddCallback");
  if (callback == nullptr) return finish(cudaErrorInvalidValue);
  auto kept = std::make_unique<Callback>(Callback{callback, user});
  const CUresult result = cuStreamAddCallback(resolve_stream(stream), run_callback, kept.get(), flags);
  if (result == CUDA_SUCCESS) kept.release();
  return finish(result);
}

GAPLESS_SIM_RUNTIME_API cudaEventCreate(cudaEvent_t* out) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaEventCreate");
  return finish(cuEventCreate(out, CU_EVENT_DEFAULT));
}

GAPLESS_SIM_RUNTIME_API cudaEventCreateWithFlags(cudaEvent_t* out, unsigned flags) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaEventCreateWithFlags");
  return finish(cuEventCreate(out, flags));
}

GAPLESS_SIM_RUNTIME_API cudaEventDestroy(cudaEvent_t event) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaEventDestroy");
  return finish(cuEventDestroy(event));
}

GAPLESS_SIM_RUNTIME_API cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaEventRecord");
  return finish(cuEventRecord(event, resolve_stream(stream)));
}

GAPLESS_SIM_RUNTIME_API cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaEventRecordWithFlags");
  return finish(cuEventRecordWithFlags(event, resolve_stream(stream), flags));
}

GAPLESS_SIM_RUNTIME_API cudaEventQuery(cudaEvent_t event) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaEventQuery");
  return finish(cuEventQuery(event));
}

GAPLESS_SIM_RUNTIME_API cudaEventSynchronize(cudaEvent_t event) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaEventSynchronize");
  return finish(cuEventSynchronize(event));
}

GAPLESS_SIM_RUNTIME_API cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaEventElapsedTime");
  return finish(cuEventElapsedTime(milliseconds, start, end));
}

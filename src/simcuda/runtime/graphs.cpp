// SPDX-License-Identifier: Apache-2.0
// Stream capture and graphs. Enumerators have the driver's numbers.
#include "simcuda/runtime/api.hpp"

using namespace gapless::simcuda;

GAPLESS_SIM_RUNTIME_API cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamBeginCapture");
  return finish(cuStreamBeginCapture(resolve_stream(stream), static_cast<CUstreamCaptureMode>(mode)));
}

GAPLESS_SIM_RUNTIME_API cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* out) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamEndCapture");
  return finish(cuStreamEndCapture(resolve_stream(stream), out));
}

GAPLESS_SIM_RUNTIME_API cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamIsCapturing");
  if (status == nullptr) return finish(cudaErrorInvalidValue);
  CUstreamCaptureStatus found{};
  const CUresult result = cuStreamIsCapturing(resolve_stream(stream), &found);
  if (result == CUDA_SUCCESS) *status = static_cast<cudaStreamCaptureStatus>(found);
  return finish(result);
}

GAPLESS_SIM_RUNTIME_API cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                                 unsigned long long* id, cudaGraph_t* graph,
                                                 const cudaGraphNode_t** dependencies, const cudaGraphEdgeData** edges,
                                                 size_t* count) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaStreamGetCaptureInfo");
  if (status == nullptr) return finish(cudaErrorInvalidValue);
  CUstreamCaptureStatus found{};
  cuuint64_t capture = 0;
  const CUgraphEdgeData* driver_edges = nullptr;
  const CUresult result = cuStreamGetCaptureInfo(resolve_stream(stream), &found, &capture, graph, dependencies,
                                                 edges != nullptr ? &driver_edges : nullptr, count);
  if (result != CUDA_SUCCESS) return finish(result);
  *status = static_cast<cudaStreamCaptureStatus>(found);
  if (id != nullptr) *id = capture;
  return cudaSuccess;
}

GAPLESS_SIM_RUNTIME_API cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  GAPLESS_SIM_RUNTIME_DRIVER_CALL("cudaThreadExchangeStreamCaptureMode");
  if (mode == nullptr) return finish(cudaErrorInvalidValue);
  auto exchanged = static_cast<CUstreamCaptureMode>(*mode);
  const CUresult result = cuThreadExchangeStreamCaptureMode(&exchanged);
  if (result == CUDA_SUCCESS) *mode = static_cast<cudaStreamCaptureMode>(exchanged);
  return finish(result);
}

GAPLESS_SIM_RUNTIME_API cudaGraphInstantiate(cudaGraphExec_t* out, cudaGraph_t graph, unsigned long long flags) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGraphInstantiate");
  return finish(cuGraphInstantiate(out, graph, flags));
}

GAPLESS_SIM_RUNTIME_API cudaGraphInstantiateWithFlags(cudaGraphExec_t* out, cudaGraph_t graph,
                                                      unsigned long long flags) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGraphInstantiateWithFlags");
  return finish(cuGraphInstantiate(out, graph, flags));
}

GAPLESS_SIM_RUNTIME_API cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                            cudaGraphExecUpdateResultInfo* info) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGraphExecUpdate");
  if (info == nullptr) return finish(cudaErrorInvalidValue);
  CUgraphExecUpdateResultInfo found{};
  const CUresult result = cuGraphExecUpdate(exec, graph, &found);
  *info = {};
  info->result = static_cast<cudaGraphExecUpdateResult>(found.result);
  return finish(result);
}

GAPLESS_SIM_RUNTIME_API cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGraphLaunch");
  return finish(cuGraphLaunch(exec, resolve_stream(stream)));
}

GAPLESS_SIM_RUNTIME_API cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGraphUpload");
  return finish(cuGraphUpload(exec, resolve_stream(stream)));
}

GAPLESS_SIM_RUNTIME_API cudaGraphDestroy(cudaGraph_t graph) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGraphDestroy");
  return finish(cuGraphDestroy(graph));
}

GAPLESS_SIM_RUNTIME_API cudaGraphExecDestroy(cudaGraphExec_t exec) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGraphExecDestroy");
  return finish(cuGraphExecDestroy(exec));
}

GAPLESS_SIM_RUNTIME_API cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGraphGetNodes");
  return finish(cuGraphGetNodes(graph, nodes, count));
}

GAPLESS_SIM_RUNTIME_API cudaGraphDebugDotPrint(cudaGraph_t graph, const char* path, unsigned flags) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGraphDebugDotPrint");
  return finish(cuGraphDebugDotPrint(graph, path, flags));
}

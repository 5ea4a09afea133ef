// SPDX-License-Identifier: Apache-2.0
// Stream capture and graphs. Enumerators have the driver's numbers.
#include "simcuda/runtime/api.hpp"

using namespace gapless::simcuda;

// Two names of one thing: data and nodes go through to the driver as they are.
static_assert(sizeof(cudaGraphEdgeData) == sizeof(CUgraphEdgeData));
static_assert(alignof(cudaGraphEdgeData) == alignof(CUgraphEdgeData));

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
  const CUresult result = cuStreamGetCaptureInfo(resolve_stream(stream), &found, &capture, graph, dependencies,
                                                 reinterpret_cast<const CUgraphEdgeData**>(edges), count);
  if (result != CUDA_SUCCESS) return finish(result);
  *status = static_cast<cudaStreamCaptureStatus>(found);
  if (id != nullptr && found == CU_STREAM_CAPTURE_STATUS_ACTIVE) *id = capture;
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

GAPLESS_SIM_RUNTIME_API cudaGraphGetRootNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGraphGetRootNodes");
  return finish(cuGraphGetRootNodes(graph, nodes, count));
}

GAPLESS_SIM_RUNTIME_API cudaGraphGetEdges(cudaGraph_t graph, cudaGraphNode_t* from, cudaGraphNode_t* to,
                                          cudaGraphEdgeData* edges, size_t* count) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGraphGetEdges");
  return finish(cuGraphGetEdges(graph, from, to, reinterpret_cast<CUgraphEdgeData*>(edges), count));
}

GAPLESS_SIM_RUNTIME_API cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGraphNodeGetType");
  if (type == nullptr) return finish(cudaErrorInvalidValue);
  CUgraphNodeType found{};
  const CUresult result = cuGraphNodeGetType(node, &found);
  if (result == CUDA_SUCCESS) *type = static_cast<cudaGraphNodeType>(found);
  return finish(result);
}

GAPLESS_SIM_RUNTIME_API cudaGraphNodeGetDependencies(cudaGraphNode_t node, cudaGraphNode_t* dependencies,
                                                     cudaGraphEdgeData* edges, size_t* count) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGraphNodeGetDependencies");
  return finish(cuGraphNodeGetDependencies(node, dependencies, reinterpret_cast<CUgraphEdgeData*>(edges), count));
}

GAPLESS_SIM_RUNTIME_API cudaGraphNodeGetDependentNodes(cudaGraphNode_t node, cudaGraphNode_t* dependents,
                                                       cudaGraphEdgeData* edges, size_t* count) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGraphNodeGetDependentNodes");
  return finish(cuGraphNodeGetDependentNodes(node, dependents, reinterpret_cast<CUgraphEdgeData*>(edges), count));
}

GAPLESS_SIM_RUNTIME_API cudaGraphDebugDotPrint(cudaGraph_t graph, const char* path, unsigned flags) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGraphDebugDotPrint");
  return finish(cuGraphDebugDotPrint(graph, path, flags));
}

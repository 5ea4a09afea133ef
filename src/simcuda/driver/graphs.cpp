// SPDX-License-Identifier: Apache-2.0
// Stream capture and graphs. Graphs come from captures; what they hold is in graph_nodes.cpp.
#include <span>

#include "simcuda/driver/api.hpp"
#include "simcuda/driver/graph_nodes.hpp"

using namespace gapless::simcuda;

namespace {

CUstreamCaptureStatus to_cuda(gapless::driver::CaptureStatus status) {
  switch (status) {
    case gapless::driver::CaptureStatus::none:
      return CU_STREAM_CAPTURE_STATUS_NONE;
    case gapless::driver::CaptureStatus::active:
      return CU_STREAM_CAPTURE_STATUS_ACTIVE;
    case gapless::driver::CaptureStatus::invalidated:
      return CU_STREAM_CAPTURE_STATUS_INVALIDATED;
  }
  return CU_STREAM_CAPTURE_STATUS_NONE;
}

CUresult instantiate(Machine* m, CUgraphExec* out, CUgraph graph) {
  GAPLESS_SIM_REQUIRE(out != nullptr && graph != nullptr);
  sim::GraphExec made = nullptr;
  const Result result = m->graph_instantiate(graph, made);
  if (result == Result::ok) *out = static_cast<CUgraphExec>(made);
  return gapless::simcuda::to_cuda(result);
}

}  // namespace

GAPLESS_SIM_API cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode mode) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamBeginCapture");
  GAPLESS_SIM_REQUIRE(mode >= CU_STREAM_CAPTURE_MODE_GLOBAL && mode <= CU_STREAM_CAPTURE_MODE_RELAXED);
  return gapless::simcuda::to_cuda(
      m->begin_capture(device, resolve_stream(stream), static_cast<sim::CaptureMode>(mode)));
}

GAPLESS_SIM_API cuStreamEndCapture(CUstream stream, CUgraph* out) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamEndCapture");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  sim::Graph graph = nullptr;
  const Result result = m->end_capture(device, resolve_stream(stream), graph);
  *out = static_cast<CUgraph>(graph);
  return gapless::simcuda::to_cuda(result);
}

GAPLESS_SIM_API cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus* status) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamIsCapturing");
  GAPLESS_SIM_REQUIRE(status != nullptr);
  gapless::driver::CaptureInfo info;
  const Result result = m->capture_info(device, resolve_stream(stream), info);
  if (result == Result::ok) *status = to_cuda(info.status);
  return gapless::simcuda::to_cuda(result);
}

GAPLESS_SIM_API cuStreamGetCaptureInfo(CUstream stream, CUstreamCaptureStatus* status, cuuint64_t* id, CUgraph* graph,
                                       const CUgraphNode** dependencies, const CUgraphEdgeData** edges, size_t* count) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamGetCaptureInfo");
  GAPLESS_SIM_REQUIRE(status != nullptr && (edges == nullptr || dependencies != nullptr));
  gapless::driver::CaptureInfo info;
  const Result result = m->capture_info(device, resolve_stream(stream), info);
  if (result != Result::ok) return gapless::simcuda::to_cuda(result);
  *status = to_cuda(info.status);
  // Nothing else is valid of a capture that was invalidated.
  if (info.status != gapless::driver::CaptureStatus::active) return CUDA_SUCCESS;
  if (id != nullptr) *id = info.id;
  if (graph != nullptr) {
    sim::Graph promised = nullptr;
    const Result promise = m->capture_graph(device, resolve_stream(stream), promised);
    if (promise != Result::ok) return gapless::simcuda::to_cuda(promise);
    *graph = static_cast<CUgraph>(promised);
  }
  if (dependencies == nullptr && count == nullptr) return CUDA_SUCCESS;
  std::span<const sim::GraphNodeHandle> next;
  const Result asked = m->capture_dependencies(device, resolve_stream(stream), next);
  if (asked != Result::ok) return gapless::simcuda::to_cuda(asked);
  if (dependencies != nullptr) *dependencies = reinterpret_cast<const CUgraphNode*>(next.data());
  if (edges != nullptr) *edges = gapless::simcuda::plain_edges(next.size());
  if (count != nullptr) *count = next.size();
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
  GAPLESS_SIM_CALL("cuThreadExchangeStreamCaptureMode");
  GAPLESS_SIM_REQUIRE(mode != nullptr);
  int value = *mode;
  const Result result = m->exchange_capture_mode(value);
  if (result == Result::ok) *mode = static_cast<CUstreamCaptureMode>(value);
  return gapless::simcuda::to_cuda(result);
}

GAPLESS_SIM_API cuGraphInstantiate(CUgraphExec* out, CUgraph graph, unsigned long long) {
  GAPLESS_SIM_CALL("cuGraphInstantiate");
  return instantiate(m, out, graph);
}

GAPLESS_SIM_API cuGraphInstantiateWithParams(CUgraphExec* out, CUgraph graph,
                                             CUDA_GRAPH_INSTANTIATE_PARAMS* parameters) {
  GAPLESS_SIM_CALL("cuGraphInstantiateWithParams");
  GAPLESS_SIM_REQUIRE(parameters != nullptr);
  const CUresult result = instantiate(m, out, graph);
  parameters->hErrNode_out = nullptr;
  parameters->result_out = result == CUDA_SUCCESS ? CUDA_GRAPH_INSTANTIATE_SUCCESS : CUDA_GRAPH_INSTANTIATE_ERROR;
  return result;
}

GAPLESS_SIM_API cuGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphExecUpdateResultInfo* info) {
  GAPLESS_SIM_CALL("cuGraphExecUpdate");
  GAPLESS_SIM_REQUIRE(info != nullptr);
  const Result result = m->graph_exec_update(exec, graph);
  *info = {};
  info->result = result == Result::ok ? CU_GRAPH_EXEC_UPDATE_SUCCESS : CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
  return gapless::simcuda::to_cuda(result);
}

GAPLESS_SIM_API cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  GAPLESS_SIM_CONTEXT_CALL("cuGraphLaunch");
  GAPLESS_SIM_REQUIRE(exec != nullptr);
  return gapless::simcuda::to_cuda(m->graph_launch(device, exec, resolve_stream(stream)));
}

// Uploading moves a graph's description to the device, which changes nothing that can be observed here.
GAPLESS_SIM_API cuGraphUpload(CUgraphExec exec, CUstream stream) {
  GAPLESS_SIM_CONTEXT_CALL("cuGraphUpload");
  return gapless::simcuda::to_cuda(m->graph_upload(device, exec, resolve_stream(stream)));
}

GAPLESS_SIM_API cuGraphDestroy(CUgraph graph) {
  GAPLESS_SIM_CALL("cuGraphDestroy");
  return gapless::simcuda::to_cuda(m->graph_destroy(graph));
}

GAPLESS_SIM_API cuGraphExecDestroy(CUgraphExec exec) {
  GAPLESS_SIM_CALL("cuGraphExecDestroy");
  return gapless::simcuda::to_cuda(m->graph_exec_destroy(exec));
}

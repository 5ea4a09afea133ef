// SPDX-License-Identifier: Apache-2.0
// CAP: what a capture forbids to whom, and what a graph does.
#include <thread>

#include "gpu/conformance.hpp"

namespace gapless::gpu {
namespace {

void begin(Run& run, CUstream stream, CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL) {
  run.must(run.cuda.cuStreamBeginCapture(stream, mode), "cuStreamBeginCapture");
}

void end(Run& run, CUstream stream) {
  CUgraph graph = nullptr;
  run("cuStreamEndCapture", run.cuda.cuStreamEndCapture(stream, &graph));
  run.saw("a graph", graph != nullptr);
  if (graph != nullptr) run("cuGraphDestroy", run.cuda.cuGraphDestroy(graph));
}

void status(Run& run, CUstream stream) {
  CUstreamCaptureStatus status{};
  run("cuStreamIsCapturing", run.cuda.cuStreamIsCapturing(stream, &status));
  run.saw("status", static_cast<std::uint64_t>(status));
}

CUstreamCaptureMode exchange(Run& run, CUstreamCaptureMode mode) {
  run.must(run.cuda.cuThreadExchangeStreamCaptureMode(&mode), "cuThreadExchangeStreamCaptureMode");
  return mode;
}

// A potentially unsafe call by this thread while a capture of `mode` is under way, the thread's own mode being `own`.
void query_in_a_capture(Run& run, CUstreamCaptureMode mode, CUstreamCaptureMode own) {
  const CUevent event = run.event();
  const CUstream stream = run.stream();
  begin(run, stream, mode);
  const CUstreamCaptureMode before = exchange(run, own);
  run("cuEventQuery", run.cuda.cuEventQuery(event));
  exchange(run, before);
  status(run, stream);
  end(run, stream);
}

void other_thread_queries(Run& run, CUstreamCaptureMode mode) {
  const CUevent event = run.event();
  const CUstream stream = run.stream();
  begin(run, stream, mode);
  CUresult found = CUDA_ERROR_UNKNOWN;
  CUcontext context = nullptr;
  run.must(run.cuda.cuDevicePrimaryCtxRetain(&context, 0), "cuDevicePrimaryCtxRetain");
  std::thread([&] {
    (void)run.cuda.cuCtxSetCurrent(context);
    found = run.cuda.cuEventQuery(event);
  }).join();
  run("cuEventQuery of another thread", found);
  status(run, stream);
  end(run, stream);
}

void synchronize_the_capturing(Run& run) {
  const CUstream stream = run.stream();
  begin(run, stream, CU_STREAM_CAPTURE_MODE_RELAXED);
  run("cuStreamSynchronize", run.cuda.cuStreamSynchronize(stream));
  end(run, stream);
  begin(run, stream, CU_STREAM_CAPTURE_MODE_RELAXED);
  run("cuStreamQuery", run.cuda.cuStreamQuery(stream));
  end(run, stream);
  begin(run, stream, CU_STREAM_CAPTURE_MODE_RELAXED);
  run("cuCtxSynchronize", run.cuda.cuCtxSynchronize());
  end(run, stream);
}

void captured_event(Run& run) {
  const CUstream stream = run.stream();
  const CUevent event = run.event();
  begin(run, stream, CU_STREAM_CAPTURE_MODE_RELAXED);
  run("cuEventRecord", run.cuda.cuEventRecord(event, stream));
  run("cuEventQuery", run.cuda.cuEventQuery(event));
  end(run, stream);
  run("cuEventQuery after the capture", run.cuda.cuEventQuery(event));
  run("cuStreamWaitEvent after the capture", run.cuda.cuStreamWaitEvent(run.stream(), event, 0));
  run("cuEventRecord outside", run.cuda.cuEventRecord(event, stream));
  run("cuEventSynchronize", run.cuda.cuEventSynchronize(event));
}

void legacy(Run& run) {
  run("cuStreamBeginCapture of the legacy stream",
      run.cuda.cuStreamBeginCapture(nullptr, CU_STREAM_CAPTURE_MODE_GLOBAL));
  const CUdeviceptr base = run.mapped();
  const CUstream blocking = run.stream(CU_STREAM_DEFAULT);
  begin(run, blocking, CU_STREAM_CAPTURE_MODE_RELAXED);
  status(run, nullptr);
  run("cuMemsetD8Async on the legacy stream", run.cuda.cuMemsetD8Async(base, 1, 512, nullptr));
  end(run, blocking);
  const CUstream apart = run.stream();
  begin(run, apart, CU_STREAM_CAPTURE_MODE_RELAXED);
  status(run, nullptr);
  run("cuMemsetD8Async on the legacy stream", run.cuda.cuMemsetD8Async(base, 1, 512, nullptr));
  end(run, apart);
  const CUevent event = run.event();
  begin(run, apart, CU_STREAM_CAPTURE_MODE_RELAXED);
  run("cuEventRecord", run.cuda.cuEventRecord(event, apart));
  run("cuStreamWaitEvent of the legacy stream", run.cuda.cuStreamWaitEvent(nullptr, event, 0));
  end(run, apart);
}

void end_elsewhere(Run& run, CUstreamCaptureMode mode) {
  const CUstream stream = run.stream();
  begin(run, stream, mode);
  CUresult ended = CUDA_ERROR_UNKNOWN;
  CUgraph graph = nullptr;
  CUcontext context = nullptr;
  run.must(run.cuda.cuDevicePrimaryCtxRetain(&context, 0), "cuDevicePrimaryCtxRetain");
  std::thread([&] {
    (void)run.cuda.cuCtxSetCurrent(context);
    ended = run.cuda.cuStreamEndCapture(stream, &graph);
  }).join();
  run("cuStreamEndCapture of another thread", ended);
  run.saw("a graph", graph != nullptr);
  end(run, stream);
}

void end_side_stream(Run& run) {
  const CUstream origin = run.stream();
  const CUstream side = run.stream();
  const CUevent event = run.event();
  begin(run, origin);
  run("cuEventRecord", run.cuda.cuEventRecord(event, origin));
  run("cuStreamWaitEvent", run.cuda.cuStreamWaitEvent(side, event, 0));
  status(run, side);
  end(run, side);
  end(run, origin);
}

void begin_twice(Run& run) {
  const CUstream stream = run.stream();
  begin(run, stream);
  run("cuStreamBeginCapture again", run.cuda.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  end(run, stream);
  CUgraph none = nullptr;
  run("cuStreamEndCapture without a capture", run.cuda.cuStreamEndCapture(stream, &none));
}

void outside_event(Run& run) {
  const CUstream stream = run.stream();
  const CUevent event = run.event();
  run("cuEventRecord", run.cuda.cuEventRecord(event, run.stream()));
  begin(run, stream);
  run("cuStreamWaitEvent", run.cuda.cuStreamWaitEvent(stream, event, 0));
  status(run, stream);
  end(run, stream);
}

void merge(Run& run) {
  const CUstream first = run.stream();
  const CUstream second = run.stream();
  const CUevent event = run.event();
  begin(run, first);
  begin(run, second);
  run("cuEventRecord", run.cuda.cuEventRecord(event, second));
  run("cuStreamWaitEvent", run.cuda.cuStreamWaitEvent(first, event, 0));
  end(run, first);
  end(run, second);
}

void unjoined(Run& run, bool join) {
  const CUdeviceptr base = run.mapped();
  const CUstream origin = run.stream();
  const CUstream side = run.stream();
  const CUevent event = run.event();
  begin(run, origin);
  run("cuEventRecord", run.cuda.cuEventRecord(event, origin));
  run("cuStreamWaitEvent", run.cuda.cuStreamWaitEvent(side, event, 0));
  run("cuMemsetD8Async", run.cuda.cuMemsetD8Async(base, 1, 512, side));
  if (join) {
    run("cuEventRecord", run.cuda.cuEventRecord(event, side));
    run("cuStreamWaitEvent", run.cuda.cuStreamWaitEvent(origin, event, 0));
  }
  end(run, origin);
}

// The engine maps memory while others capture.
void memory_in_a_capture(Run& run) {
  const CUstream stream = run.stream();
  begin(run, stream);
  const CUdeviceptr base = run.reserve(1);
  CUmemGenericAllocationHandle handle = 0;
  const CUmemAllocationProp properties = device_memory();
  run("cuMemCreate", run.cuda.cuMemCreate(&handle, run.granule, &properties, 0));
  run("cuMemMap", run.cuda.cuMemMap(base, run.granule, 0, handle, 0));
  run("cuMemSetAccess", run.access(base, run.granule));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, run.granule));
  run("cuMemRelease", run.cuda.cuMemRelease(handle));
  run("cuMemAddressFree", run.cuda.cuMemAddressFree(base, run.granule));
  (void)run.free_bytes();
  status(run, stream);
  CUdeviceptr linear = 0;
  run("cuMemAlloc", run.cuda.cuMemAlloc(&linear, run.granule));
  status(run, stream);
  end(run, stream);
}

void replay(Run& run) {
  const CUdeviceptr base = run.mapped();
  const CUstream stream = run.stream();
  run.must(run.cuda.cuMemsetD8Async(base, 0, run.granule, stream), "cuMemsetD8Async");
  begin(run, stream);
  run("cuMemsetD8Async in a capture", run.cuda.cuMemsetD8Async(base, 5, 512, stream));
  run("cuMemcpyDtoDAsync in a capture", run.cuda.cuMemcpyDtoDAsync(base + 512, base, 512, stream));
  CUgraph graph = nullptr;
  run("cuStreamEndCapture", run.cuda.cuStreamEndCapture(stream, &graph));
  std::size_t nodes = 0;
  run("cuGraphGetNodes", run.cuda.cuGraphGetNodes(graph, nullptr, &nodes));
  run.saw("nodes", nodes);
  run("cuStreamSynchronize", run.cuda.cuStreamSynchronize(stream));
  run.saw("byte before a launch", run.byte_at(base + 512));
  CUgraphExec exec = nullptr;
  run("cuGraphInstantiateWithFlags", run.cuda.cuGraphInstantiateWithFlags(&exec, graph, 0));
  run("cuGraphDestroy", run.cuda.cuGraphDestroy(graph));
  run("cuGraphLaunch", run.cuda.cuGraphLaunch(exec, stream));
  run("cuGraphLaunch again", run.cuda.cuGraphLaunch(exec, stream));
  run("cuStreamSynchronize", run.cuda.cuStreamSynchronize(stream));
  run.saw("byte after it", run.byte_at(base + 512));
  run("cuGraphExecDestroy", run.cuda.cuGraphExecDestroy(exec));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, run.granule));
}

// What the next node of a stream would depend on.
std::vector<CUgraphNode> next(Run& run, const char* where, CUstream stream, CUgraph* graph = nullptr) {
  CUstreamCaptureStatus status{};
  const CUgraphNode* first = nullptr;
  std::size_t count = 0;
  run(where, run.cuda.cuStreamGetCaptureInfo(stream, &status, nullptr, graph, &first, nullptr, &count));
  run.saw("dependencies", count);
  return {first, first + count};
}

void kind(Run& run, CUgraphNode node) {
  CUgraphNodeType type{};
  run("cuGraphNodeGetType", run.cuda.cuGraphNodeGetType(node, &type));
  run.saw("type", static_cast<std::uint64_t>(type));
}

void nodes(Run& run) {
  const CUdeviceptr base = run.mapped();
  const CUstream origin = run.stream();
  const CUstream side = run.stream();
  const CUevent event = run.event();
  begin(run, origin);
  CUgraph promised = nullptr;
  (void)next(run, "cuStreamGetCaptureInfo at the start", origin, &promised);
  run("cuMemsetD8Async", run.cuda.cuMemsetD8Async(base, 1, 512, origin));
  const auto first = next(run, "cuStreamGetCaptureInfo after a fill", origin);
  kind(run, first.at(0));
  run("cuEventRecord", run.cuda.cuEventRecord(event, origin));
  run.saw("a record is no node", next(run, "cuStreamGetCaptureInfo after a record", origin) == first);
  run("cuStreamWaitEvent", run.cuda.cuStreamWaitEvent(side, event, 0));
  run.saw("a stream that joins depends on the same", next(run, "cuStreamGetCaptureInfo of a side", side) == first);
  run("cuMemsetD8Async", run.cuda.cuMemsetD8Async(base + 512, 1, 512, side));
  run("cuMemsetD8Async", run.cuda.cuMemsetD8Async(base + 1024, 1, 512, origin));
  run("cuEventRecord", run.cuda.cuEventRecord(event, side));
  run("cuStreamWaitEvent", run.cuda.cuStreamWaitEvent(origin, event, 0));
  (void)next(run, "cuStreamGetCaptureInfo after the join", origin);
  std::size_t so_far = 0;
  run("cuGraphGetNodes of a capture under way", run.cuda.cuGraphGetNodes(promised, nullptr, &so_far));
  run.saw("nodes", so_far);
  run("cuMemcpyDtoDAsync", run.cuda.cuMemcpyDtoDAsync(base + 2048, base, 512, origin));
  const auto last = next(run, "cuStreamGetCaptureInfo after a copy", origin);
  kind(run, last.at(0));
  CUgraph graph = nullptr;
  run("cuStreamEndCapture", run.cuda.cuStreamEndCapture(origin, &graph));
  run.saw("the graph that was promised", graph == promised);

  CUgraphNode found[8];
  std::size_t count = 8;
  run("cuGraphGetNodes", run.cuda.cuGraphGetNodes(graph, found, &count));
  run.saw("nodes", count);
  run.saw("null in what is left", found[count] == nullptr && found[7] == nullptr);
  count = 1;
  run("cuGraphGetNodes with room for one", run.cuda.cuGraphGetNodes(graph, found, &count));
  run.saw("nodes", count);
  count = 8;
  run("cuGraphGetRootNodes", run.cuda.cuGraphGetRootNodes(graph, found, &count));
  run.saw("roots", count);
  run.saw("the first node", count == 1 && found[0] == first[0]);
  run("cuGraphGetEdges", run.cuda.cuGraphGetEdges(graph, nullptr, nullptr, nullptr, &count));
  run.saw("edges", count);
  CUgraphEdgeData data[8];
  count = 8;
  run("cuGraphNodeGetDependencies", run.cuda.cuGraphNodeGetDependencies(last[0], found, data, &count));
  run.saw("dependencies", count);
  run.saw("of no special kind", data[0].type);
  count = 8;
  run("cuGraphNodeGetDependentNodes", run.cuda.cuGraphNodeGetDependentNodes(first[0], found, nullptr, &count));
  run.saw("dependents", count);
  run("cuGraphNodeGetDependencies of a root", run.cuda.cuGraphNodeGetDependencies(first[0], nullptr, nullptr, &count));
  run.saw("dependencies", count);
  run("cuGraphDestroy", run.cuda.cuGraphDestroy(graph));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, run.granule));
}

void child_graph(Run& run) {
  const CUdeviceptr base = run.mapped();
  const CUstream stream = run.stream();
  begin(run, stream);
  run("cuMemsetD8Async", run.cuda.cuMemsetD8Async(base, 1, 512, stream));
  run("cuMemsetD8Async", run.cuda.cuMemsetD8Async(base + 512, 1, 512, stream));
  CUgraph inner = nullptr;
  CUgraphExec exec = nullptr;
  run("cuStreamEndCapture", run.cuda.cuStreamEndCapture(stream, &inner));
  run("cuGraphInstantiateWithFlags", run.cuda.cuGraphInstantiateWithFlags(&exec, inner, 0));
  begin(run, stream);
  run("cuGraphLaunch in a capture", run.cuda.cuGraphLaunch(exec, stream));
  const auto child = next(run, "cuStreamGetCaptureInfo after it", stream);
  kind(run, child.at(0));
  end(run, stream);
  run("cuGraphExecDestroy", run.cuda.cuGraphExecDestroy(exec));
  run("cuGraphDestroy", run.cuda.cuGraphDestroy(inner));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, run.granule));
}

}  // namespace

std::vector<Scenario> capture_scenarios() {
  constexpr auto kGlobal = CU_STREAM_CAPTURE_MODE_GLOBAL;
  constexpr auto kThread = CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
  constexpr auto kRelaxed = CU_STREAM_CAPTURE_MODE_RELAXED;
  return {
      {"CAP-1 global capture, global thread", [](Run& run) { query_in_a_capture(run, kGlobal, kGlobal); }, true},
      {"CAP-1 global capture, thread-local thread", [](Run& run) { query_in_a_capture(run, kGlobal, kThread); }, true},
      {"CAP-1 kept: relaxed thread", [](Run& run) { query_in_a_capture(run, kGlobal, kRelaxed); }, true},
      {"CAP-1 kept: relaxed capture", [](Run& run) { query_in_a_capture(run, kRelaxed, kGlobal); }, true},
      {"CAP-1 another thread, global", [](Run& run) { other_thread_queries(run, kGlobal); }, true},
      {"CAP-1 kept: another thread, thread-local", [](Run& run) { other_thread_queries(run, kThread); }, true},
      {"CAP-2 a capturing stream", synchronize_the_capturing, true},
      {"CAP-2 a captured event", captured_event, true},
      {"CAP-3 the legacy stream", legacy, true},
      {"CAP-4 another thread", [](Run& run) { end_elsewhere(run, kGlobal); }, true},
      {"CAP-4 kept: relaxed", [](Run& run) { end_elsewhere(run, kRelaxed); }, true},
      {"CAP-4 a side stream", end_side_stream, true},
      {"CAP-5 begun twice", begin_twice, true},
      {"CAP-6 an event from outside", outside_event, true},
      {"CAP-6 two captures", merge, true},
      {"CAP-7 not joined", [](Run& run) { unjoined(run, false); }, true},
      {"CAP-7 kept", [](Run& run) { unjoined(run, true); }, true},
      {"memory calls in a capture", memory_in_a_capture, true},
      {"a graph replayed", replay},
      {"the nodes of a capture", nodes, true},
      {"a graph launched in a capture", child_graph, true},
  };
}

}  // namespace gapless::gpu

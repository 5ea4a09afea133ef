// SPDX-License-Identifier: Apache-2.0
// STR, EVT: streams and events as calls. Whether unfinished work is found unfinished is luck, so nothing here asks.
#include "gpu/conformance.hpp"

namespace gapless::gpu {
namespace {

void events(Run& run) {
  const CUevent event = run.event();
  const CUstream stream = run.stream();
  run("cuEventQuery before a record", run.cuda.cuEventQuery(event));
  run("cuEventSynchronize before a record", run.cuda.cuEventSynchronize(event));
  run("cuStreamWaitEvent before a record", run.cuda.cuStreamWaitEvent(stream, event, 0));
  run("cuEventRecord", run.cuda.cuEventRecord(event, stream));
  run("cuEventSynchronize", run.cuda.cuEventSynchronize(event));
  run("cuEventQuery after it", run.cuda.cuEventQuery(event));
  run("cuEventRecord again", run.cuda.cuEventRecord(event, nullptr));
  run("cuStreamWaitEvent of the other stream", run.cuda.cuStreamWaitEvent(stream, event, 0));
  run("cuEventDestroy while waited for", run.cuda.cuEventDestroy(event));
  run("cuStreamSynchronize", run.cuda.cuStreamSynchronize(stream));
  run("cuStreamQuery after it", run.cuda.cuStreamQuery(stream));
  run("cuStreamDestroy", run.cuda.cuStreamDestroy(stream));
}

void times(Run& run) {
  CUevent start = nullptr;
  CUevent end = nullptr;
  run.must(run.cuda.cuEventCreate(&start, CU_EVENT_DEFAULT), "cuEventCreate");
  run.must(run.cuda.cuEventCreate(&end, CU_EVENT_DEFAULT), "cuEventCreate");
  float milliseconds = -1;
  run("cuEventElapsedTime before a record", run.cuda.cuEventElapsedTime(&milliseconds, start, end));
  run("cuEventRecord", run.cuda.cuEventRecord(start, nullptr));
  run("cuEventRecord", run.cuda.cuEventRecord(end, nullptr));
  run("cuEventSynchronize", run.cuda.cuEventSynchronize(end));
  run("cuEventElapsedTime", run.cuda.cuEventElapsedTime(&milliseconds, start, end));
  run.saw("not negative", milliseconds >= 0);
  const CUevent untimed = run.event();
  run.must(run.cuda.cuEventRecord(untimed, nullptr), "cuEventRecord");
  run.must(run.cuda.cuEventSynchronize(untimed), "cuEventSynchronize");
  run("cuEventElapsedTime with an event without times", run.cuda.cuEventElapsedTime(&milliseconds, start, untimed));
}

void destroyed_event(Run& run) {
  const CUevent event = run.event();
  run("cuEventDestroy", run.cuda.cuEventDestroy(event));
  run("cuEventQuery", run.cuda.cuEventQuery(event));
}

void destroyed_stream(Run& run) {
  const CUstream stream = run.stream();
  run("cuStreamDestroy", run.cuda.cuStreamDestroy(stream));
  run("cuStreamSynchronize", run.cuda.cuStreamSynchronize(stream));
}

// Work goes on after its stream is destroyed.
void destroyed_with_work(Run& run) {
  const CUdeviceptr base = run.mapped();
  const CUstream stream = run.stream();
  run("cuMemsetD8Async", run.cuda.cuMemsetD8Async(base, 41, run.granule, stream));
  run("cuStreamDestroy", run.cuda.cuStreamDestroy(stream));
  run("cuCtxSynchronize", run.cuda.cuCtxSynchronize());
  run.saw("byte", run.byte_at(base));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, run.granule));
}

// A wait keeps the position that the event had.
void wait_then_record_again(Run& run) {
  const CUdeviceptr base = run.mapped();
  const CUstream first = run.stream();
  const CUstream second = run.stream();
  const CUevent event = run.event();
  run("cuMemsetD8Async", run.cuda.cuMemsetD8Async(base, 51, run.granule, first));
  run("cuEventRecord", run.cuda.cuEventRecord(event, first));
  run("cuStreamWaitEvent", run.cuda.cuStreamWaitEvent(second, event, 0));
  run("cuEventRecord on the waiting stream", run.cuda.cuEventRecord(event, second));
  run("cuMemcpyDtoDAsync", run.cuda.cuMemcpyDtoDAsync(base + run.granule / 2, base, 512, second));
  run("cuStreamSynchronize", run.cuda.cuStreamSynchronize(second));
  run.saw("byte", run.byte_at(base + run.granule / 2));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, run.granule));
}

// The legacy default stream follows blocking streams, and they follow it.
void legacy_stream(Run& run) {
  const CUdeviceptr base = run.mapped();
  const CUstream blocking = run.stream(CU_STREAM_DEFAULT);
  run("cuMemsetD8Async on a blocking stream", run.cuda.cuMemsetD8Async(base, 61, run.granule, blocking));
  run("cuMemcpyDtoDAsync on the legacy stream", run.cuda.cuMemcpyDtoDAsync(base + 512, base, 512, nullptr));
  run("cuMemsetD8Async on the blocking stream", run.cuda.cuMemsetD8Async(base, 62, 512, blocking));
  run("cuStreamSynchronize of the blocking stream", run.cuda.cuStreamSynchronize(blocking));
  run.saw("byte that the copy wrote", run.byte_at(base + 512));
  run.saw("byte written last", run.byte_at(base));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, run.granule));
  run("cuStreamDestroy", run.cuda.cuStreamDestroy(blocking));
}

void per_thread_stream(Run& run) {
  const CUdeviceptr base = run.mapped();
  run("cuMemsetD8Async on the per-thread stream",
      run.cuda.cuMemsetD8Async(base, 63, run.granule, CU_STREAM_PER_THREAD));
  run("cuStreamSynchronize of it", run.cuda.cuStreamSynchronize(CU_STREAM_PER_THREAD));
  run.saw("byte", run.byte_at(base));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, run.granule));
}

}  // namespace

std::vector<Scenario> stream_scenarios() {
  return {
      {"EVT-1 kept", events},
      {"event times", times},
      {"EVT-1 a destroyed event", destroyed_event, true},
      {"STR-1 a destroyed stream", destroyed_stream, true},
      {"a stream destroyed with work", destroyed_with_work},
      {"a wait keeps its position", wait_then_record_again},
      {"the legacy stream's order", legacy_stream},
      {"the per-thread stream", per_thread_stream},
  };
}

}  // namespace gapless::gpu

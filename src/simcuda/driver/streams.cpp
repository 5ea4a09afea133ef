// SPDX-License-Identifier: Apache-2.0
// Streams and events.
#include "simcuda/driver/api.hpp"
#include "simcuda/driver/observer.hpp"

using namespace gapless::simcuda;

namespace {

CUresult create_stream(Machine* m, int device, CUstream* out, unsigned flags, int priority) {
  GAPLESS_SIM_REQUIRE(out != nullptr && (flags & ~static_cast<unsigned>(CU_STREAM_NON_BLOCKING)) == 0);
  gapless::driver::Stream stream = nullptr;
  const Result result =
      m->stream_create(device, {.non_blocking = flags == CU_STREAM_NON_BLOCKING, .priority = priority}, stream);
  if (result == Result::ok) *out = static_cast<CUstream>(stream);
  return to_cuda(result);
}

struct StreamFacts {
  sim::StreamFlags flags;
  int device = 0;
  std::uint64_t id = 0;
};

CUresult facts_of(Machine* m, int device, CUstream stream, StreamFacts& out) {
  return to_cuda(m->stream_info(device, resolve_stream(stream), out.flags, out.device, out.id));
}

CUresult record(Machine* m, int device, CUevent event, CUstream stream) {
  const CUstream resolved = resolve_stream(stream);
  return observed("cuEventRecord", m->event_record(device, event, resolved),
                  {.device = device, .stream = resolved, .has_stream = true, .event = event});
}

// Also enqueues host work: a value write has the same place in the stream's order as a kernel.
CUresult write_value(Machine* m, int device, const char* name, CUstream stream, CUdeviceptr address,
                     std::uint64_t value, std::size_t width) {
  GAPLESS_SIM_REQUIRE(address % width == 0);
  const CUstream resolved = resolve_stream(stream);
  if (width == 8) {
    const sim::Access access{address, width, true};
    return to_cuda(
        m->submit(device, resolved,
                  {.name = name, .accesses = {&access, 1}, .body = {}, .kind = sim::NodeKind::memory_operation}));
  }
  return to_cuda(m->fill(device, resolved,
                         {.to = address,
                          .value = static_cast<std::uint32_t>(value),
                          .width = 4,
                          .elements = 1,
                          .name = name,
                          .kind = sim::NodeKind::memory_operation}));
}

}  // namespace

GAPLESS_SIM_API cuStreamCreate(CUstream* out, unsigned flags) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamCreate");
  return create_stream(m, device, out, flags, 0);
}

GAPLESS_SIM_API cuStreamCreateWithPriority(CUstream* out, unsigned flags, int priority) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamCreateWithPriority");
  return create_stream(m, device, out, flags, priority);
}

GAPLESS_SIM_API cuStreamDestroy(CUstream stream) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamDestroy");
  return to_cuda(m->stream_destroy(device, stream));
}

GAPLESS_SIM_API cuStreamQuery(CUstream stream) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamQuery");
  return to_cuda(m->stream_query(device, resolve_stream(stream)));
}

GAPLESS_SIM_API cuStreamSynchronize(CUstream stream) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamSynchronize");
  const CUstream resolved = resolve_stream(stream);
  return observed("cuStreamSynchronize", m->stream_synchronize(device, resolved),
                  {.device = device, .stream = resolved, .has_stream = true});
}

GAPLESS_SIM_API cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamWaitEvent");
  const CUstream resolved = resolve_stream(stream);
  return observed("cuStreamWaitEvent", m->stream_wait_event(device, resolved, event),
                  {.device = device, .stream = resolved, .has_stream = true, .event = event});
}

GAPLESS_SIM_API cuStreamGetPriority(CUstream stream, int* priority) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamGetPriority");
  GAPLESS_SIM_REQUIRE(priority != nullptr);
  StreamFacts facts;
  const CUresult result = facts_of(m, device, stream, facts);
  if (result == CUDA_SUCCESS) *priority = facts.flags.priority;
  return result;
}

GAPLESS_SIM_API cuStreamGetFlags(CUstream stream, unsigned* flags) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamGetFlags");
  GAPLESS_SIM_REQUIRE(flags != nullptr);
  StreamFacts facts;
  const CUresult result = facts_of(m, device, stream, facts);
  if (result == CUDA_SUCCESS) *flags = facts.flags.non_blocking ? CU_STREAM_NON_BLOCKING : CU_STREAM_DEFAULT;
  return result;
}

GAPLESS_SIM_API cuStreamGetId(CUstream stream, unsigned long long* id) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamGetId");
  GAPLESS_SIM_REQUIRE(id != nullptr);
  StreamFacts facts;
  const CUresult result = facts_of(m, device, stream, facts);
  if (result == CUDA_SUCCESS) *id = facts.id;
  return result;
}

GAPLESS_SIM_API cuStreamGetDevice(CUstream stream, CUdevice* out) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamGetDevice");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  StreamFacts facts;
  const CUresult result = facts_of(m, device, stream, facts);
  if (result == CUDA_SUCCESS) *out = facts.device;
  return result;
}

GAPLESS_SIM_API cuStreamGetCtx(CUstream stream, CUcontext* out) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamGetCtx");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  StreamFacts facts;
  const CUresult result = facts_of(m, device, stream, facts);
  if (result == CUDA_SUCCESS) *out = reinterpret_cast<CUcontext>(primary_context(facts.device));
  return result;
}

GAPLESS_SIM_API cuStreamWriteValue32(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamWriteValue32");
  return write_value(m, device, "cuStreamWriteValue32", stream, address, value, 4);
}

GAPLESS_SIM_API cuStreamWriteValue64(CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamWriteValue64");
  return write_value(m, device, "cuStreamWriteValue64", stream, address, value, 8);
}

GAPLESS_SIM_API cuLaunchHostFunc(CUstream stream, CUhostFn function, void* user) {
  GAPLESS_SIM_CONTEXT_CALL("cuLaunchHostFunc");
  GAPLESS_SIM_REQUIRE(function != nullptr);
  return to_cuda(m->submit(device, resolve_stream(stream),
                           {.name = "cuLaunchHostFunc",
                            .accesses = {},
                            .body = [=] { function(user); },
                            .host_function = true,
                            .kind = sim::NodeKind::host}));
}

GAPLESS_SIM_API cuStreamAddCallback(CUstream stream, CUstreamCallback callback, void* user, unsigned flags) {
  GAPLESS_SIM_CONTEXT_CALL("cuStreamAddCallback");
  GAPLESS_SIM_REQUIRE(callback != nullptr && flags == 0);
  return to_cuda(m->submit(device, resolve_stream(stream),
                           {.name = "cuStreamAddCallback",
                            .accesses = {},
                            .body = [=] { callback(stream, CUDA_SUCCESS, user); },
                            .host_function = true,
                            .kind = sim::NodeKind::host}));
}

// ---- events. The blocking flag changes nothing here: an event of the simulation has no cost.
GAPLESS_SIM_API cuEventCreate(CUevent* out, unsigned flags) {
  GAPLESS_SIM_CONTEXT_CALL("cuEventCreate");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  constexpr unsigned kKnown = CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS;
  GAPLESS_SIM_REQUIRE((flags & ~kKnown) == 0);
  const bool timed = (flags & CU_EVENT_DISABLE_TIMING) == 0;
  const bool interprocess = (flags & CU_EVENT_INTERPROCESS) != 0;
  GAPLESS_SIM_REQUIRE(!timed || !interprocess);
  gapless::driver::Event event = nullptr;
  const Result result = m->event_create(device, event, timed, interprocess);
  if (result == Result::ok) *out = static_cast<CUevent>(event);
  return to_cuda(result);
}

GAPLESS_SIM_API cuEventDestroy(CUevent event) {
  GAPLESS_SIM_CALL("cuEventDestroy");
  return observed("cuEventDestroy", m->event_destroy(event), {.event = event});
}

GAPLESS_SIM_API cuEventRecord(CUevent event, CUstream stream) {
  GAPLESS_SIM_CONTEXT_CALL("cuEventRecord");
  return record(m, device, event, stream);
}

GAPLESS_SIM_API cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned flags) {
  GAPLESS_SIM_CONTEXT_CALL("cuEventRecordWithFlags");
  GAPLESS_SIM_REQUIRE((flags & ~static_cast<unsigned>(CU_EVENT_RECORD_EXTERNAL)) == 0);
  return record(m, device, event, stream);
}

GAPLESS_SIM_API cuEventQuery(CUevent event) {
  GAPLESS_SIM_CALL("cuEventQuery");
  return observed("cuEventQuery", m->event_query(event), {.event = event});
}

GAPLESS_SIM_API cuEventSynchronize(CUevent event) {
  GAPLESS_SIM_CALL("cuEventSynchronize");
  return observed("cuEventSynchronize", m->event_synchronize(event), {.event = event});
}

GAPLESS_SIM_API cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
  GAPLESS_SIM_CALL("cuEventElapsedTime");
  GAPLESS_SIM_REQUIRE(milliseconds != nullptr);
  return to_cuda(m->event_elapsed(start, end, *milliseconds));
}

// SPDX-License-Identifier: Apache-2.0
// Machine: streams and events.
#include <algorithm>

#include "driver/sim/core.hpp"
#include "driver/sim/machine.hpp"

namespace gapless::driver::sim {
namespace {

// A host that asks this often is waiting. Schedules that wait for a synchronisation would leave it asking for ever.
constexpr unsigned kPatience = 1000;

}  // namespace

Result Machine::stream_create(int device, StreamFlags flags, Stream& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->device_state(device); result != Result::ok) return result;
  out = as_handle(core_->stream_handles.insert(core_->add_stream(device, flags)));
  return Result::ok;
}

Result Machine::stream_destroy(int device, Stream stream) {
  const Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  if (core_->stream_handles.find(handle_bits(stream)) == nullptr) return Result::invalid_value;  // a default stream
  if (const Result result = core_->refuse_captured(core_->capture_of(*state), "cuStreamDestroy"); result != Result::ok)
    return result;
  core_->scheduler.retire_stream(state->id);
  core_->stream_handles.erase(handle_bits(stream));
  return Result::ok;
}

Result Machine::stream_info(int device, Stream stream, StreamFlags& flags, int& stream_device, std::uint64_t& id) {
  const Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  flags = state->flags;
  stream_device = state->device;
  id = state->id;
  return Result::ok;
}

std::uint64_t Machine::stream_number(int device, Stream stream) {
  const Lock lock = core_->enter();
  if (device < 0 || device >= device_count()) return 0;
  const bool by_name = stream == nullptr || stream == kLegacyStream || stream == kPerThreadStream;
  if (!by_name && core_->stream_handles.find(handle_bits(stream)) == nullptr) return 0;
  return core_->resolve(device, stream)->id;
}

Result Machine::stream_query(int device, Stream stream) {
  Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  if (const Result result = core_->refuse_captured(core_->capture_of(*state), "cuStreamQuery"); result != Result::ok)
    return result;
  if (const Result result = core_->safe_in_capture("cuStreamQuery"); result != Result::ok) return result;
  core_->scheduler.tick(lock);
  const Position end{state->id, state->issued};
  const Clock asked_for = core_->strict() ? state->clock : Clock{};  // finish() lets the lock go: more may follow
  if (!core_->scheduler.complete(end)) {
    if (++state->polls < kPatience || core_->common.config.completion == Completion::manual) return Result::not_ready;
    core_->scheduler.finish(lock, end);
  }
  state->polls = 0;
  if (core_->strict()) core_->threads.clock().join(asked_for);
  return Result::ok;
}

Result Machine::stream_synchronize(int device, Stream stream) {
  Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  if (const Result result = core_->refuse_captured(core_->capture_of(*state), "cuStreamSynchronize");
      result != Result::ok)
    return result;
  if (const Result result = core_->safe_in_capture("cuStreamSynchronize"); result != Result::ok) return result;
  const int on_device = state->device;
  core_->finish_and_learn(lock, *state);
  const Result sticky = core_->sticky[static_cast<std::size_t>(on_device)];
  core_->synchronised(lock, static_cast<int>(state->id));
  return sticky;
}

Result Machine::device_synchronize(int device) {
  Lock lock = core_->enter();
  if (const Result result = core_->device_state(device); result != Result::ok) return result;
  if (const Result result = core_->refuse_captured_device(device, "cuCtxSynchronize"); result != Result::ok)
    return result;
  if (const Result result = core_->safe_in_capture("cuCtxSynchronize"); result != Result::ok) return result;
  core_->finish_device_and_learn(lock, device);
  const Result sticky = core_->sticky[static_cast<std::size_t>(device)];
  core_->synchronised(lock, -1);
  return sticky;
}

Result Machine::stream_wait_event(int device, Stream stream, Event event) {
  Lock lock = core_->enter();
  StreamState* waiting = nullptr;
  if (const Result result = core_->use_stream(device, stream, waiting); result != Result::ok) return result;
  EventState* state = core_->event(event, "cuStreamWaitEvent");
  if (state == nullptr) return code::invalid_handle;
  if (const Result result = core_->usable(*waiting); result != Result::ok) return result;
  if (state->capture != 0) return core_->capture_wait(*waiting, *state);
  if (!state->recorded) return Result::ok;
  if (Capture* capture = core_->capture_of(*waiting);
      capture != nullptr &&
      core_->common.violate(
          "CAP-6", text("capturing stream %u waits for an event that was recorded outside its capture", waiting->id))) {
    capture->invalidate();
    return code::capture_isolation;
  }
  // The position that the event has now: recording it again does not move this wait.
  core_->enqueue_marker(*waiting, &state->at, core_->strict() ? &state->clock : nullptr);
  core_->scheduler.tick(lock);
  return Result::ok;
}

Result Machine::event_create(int device, Event& out, bool timed, bool interprocess) {
  const Lock lock = core_->enter();
  if (const Result result = core_->device_state(device); result != Result::ok) return result;
  EventState event;
  event.device = device;
  event.timed = timed;
  event.interprocess = interprocess;
  event.id = ++core_->event_ids;
  out = as_handle(core_->events.insert(std::move(event)));
  return Result::ok;
}

// Waits that were submitted hold positions, not the event: destroying it early is allowed.
Result Machine::event_destroy(Event event) {
  const Lock lock = core_->enter();
  const EventState* state = core_->event(event, "cuEventDestroy");
  if (state == nullptr) return code::invalid_handle;
  if (const Result result = core_->device_state(state->device); result != Result::ok) return result;
  core_->events.erase(handle_bits(event));
  return Result::ok;
}

Result Machine::event_share(Event event, std::uint64_t& id) {
  const Lock lock = core_->enter();
  const EventState* state = core_->event(event, "cuIpcGetEventHandle");
  if (state == nullptr) return code::invalid_handle;
  if (const Result result = core_->device_state(state->device); result != Result::ok) return result;
  if (!state->interprocess &&
      core_->common.violate(
          "IPC-4", text("cuIpcGetEventHandle of event %llu, which was not made to be shared", ull(state->id)))) {
    return code::invalid_handle;
  }
  id = state->id;
  return Result::ok;
}

Result Machine::event_record(int device, Event event, Stream stream) {
  Lock lock = core_->enter();
  StreamState* recorded = nullptr;
  if (const Result result = core_->use_stream(device, stream, recorded); result != Result::ok) return result;
  EventState* state = core_->event(event, "cuEventRecord");
  if (state == nullptr) return code::invalid_handle;
  if (state->device != recorded->device &&
      core_->common.violate("EVT-2", text("event %llu of device %d is recorded on stream %u of device %d",
                                          ull(state->id), state->device, recorded->id, recorded->device))) {
    return code::invalid_handle;
  }
  if (const Result result = core_->usable(*recorded); result != Result::ok) return result;
  state->polls = 0;
  if (Capture* capture = core_->capture_of(*recorded)) {
    state->capture = capture->id();
    state->token = capture->record(recorded->id);
    return Result::ok;
  }
  core_->enqueue_marker(*recorded, nullptr, nullptr);
  state->capture = 0;
  state->recorded = true;
  state->at = {recorded->id, recorded->issued};
  state->operation = core_->common.operations;
  if (core_->strict()) state->clock = recorded->clock;
  const Position at = state->at;
  if (state->interprocess) core_->scheduler.finish(lock, at);
  core_->scheduler.tick(lock);
  return Result::ok;
}

Result Machine::event_query(Event event) {
  Lock lock = core_->enter();
  EventState* state = core_->event(event, "cuEventQuery");
  if (state == nullptr) return code::invalid_handle;
  if (const Result result = core_->device_state(state->device); result != Result::ok) return result;
  if (const Result result = core_->refuse_captured_event(*state, "cuEventQuery"); result != Result::ok) return result;
  if (const Result result = core_->safe_in_capture("cuEventQuery"); result != Result::ok) return result;
  if (!state->recorded) return Result::ok;
  const Position at = state->at;
  const Clock asked_for = core_->strict() ? state->clock : Clock{};
  core_->scheduler.tick(lock);
  if (!core_->scheduler.complete(at)) {
    if (++state->polls < kPatience || core_->common.config.completion == Completion::manual) return Result::not_ready;
    core_->scheduler.finish(lock, at);
  }
  if (core_->strict()) core_->threads.clock().join(asked_for);
  // A tick may have let the lock go: look again before touching the event.
  state = core_->events.find(handle_bits(event));
  if (state != nullptr) state->polls = 0;
  return Result::ok;
}

Result Machine::event_synchronize(Event event) {
  Lock lock = core_->enter();
  EventState* state = core_->event(event, "cuEventSynchronize");
  if (state == nullptr) return code::invalid_handle;
  if (const Result result = core_->device_state(state->device); result != Result::ok) return result;
  if (const Result result = core_->refuse_captured_event(*state, "cuEventSynchronize"); result != Result::ok)
    return result;
  if (const Result result = core_->safe_in_capture("cuEventSynchronize"); result != Result::ok) return result;
  if (!state->recorded) return Result::ok;
  const Position at = state->at;
  const int device = state->device;
  const Clock waited_for = core_->strict() ? state->clock : Clock{};
  core_->scheduler.finish(lock, at);
  if (core_->strict()) core_->threads.clock().join(waited_for);
  core_->trim_pools_on_synchronize(device);
  const Result sticky = core_->sticky[static_cast<std::size_t>(device)];
  core_->synchronised(lock, static_cast<int>(at.stream));
  return sticky;
}

Result Machine::event_elapsed(Event start, Event end, float& milliseconds) {
  const Lock lock = core_->enter();
  const EventState* from = core_->event(start, "cuEventElapsedTime");
  const EventState* to = core_->event(end, "cuEventElapsedTime");
  if (from == nullptr || to == nullptr || !from->recorded || !to->recorded) return code::invalid_handle;
  if (!from->timed || !to->timed || from->device != to->device) return code::invalid_handle;
  if (const Result result = core_->device_state(from->device); result != Result::ok) return result;
  if (!core_->scheduler.complete(from->at) || !core_->scheduler.complete(to->at)) return Result::not_ready;
  constexpr float kMillisecondsEach = 1e-3f;  // an invention: equal runs give equal times
  const float operations = static_cast<float>(static_cast<std::int64_t>(to->operation - from->operation));
  milliseconds = std::max(operations, 1.0f) * kMillisecondsEach;
  return Result::ok;
}

}  // namespace gapless::driver::sim

// SPDX-License-Identifier: Apache-2.0
// Machine: captures.
#include <algorithm>
#include <utility>

#include "driver/sim/core.hpp"
#include "driver/sim/machine.hpp"

namespace gapless::driver::sim {

Result Machine::Core::capture_wait(StreamState& waiting, const EventState& event) {
  Capture* const captured = capture_numbered(event.capture);
  if (captured == nullptr) {
    common.violate("CAP-6",
                   text("stream %u waits for an event of capture %llu, which is over", waiting.id, ull(event.capture)));
    return code::captured_event;
  }
  Capture* own = capture_of(waiting);
  if (own != nullptr && own != captured &&
      common.violate("CAP-6", text("stream %u would join captures %llu and %llu", waiting.id, ull(own->id()),
                                   ull(event.capture)))) {
    own->invalidate();
    captured->invalidate();
    return code::capture_merge;
  }
  if (waiting.legacy &&
      common.violate("CAP-3", text("the legacy stream waits for an event of capture %llu", ull(event.capture)))) {
    captured->invalidate();
    return Result::stream_capture_implicit;
  }
  waiting.capture = scheduler.stream(captured->origin()).capture;
  captured->wait(waiting.id, event.token);
  return Result::ok;
}

Result Machine::begin_capture(int device, Stream stream, CaptureMode mode) {
  const Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  if (state->legacy && core_->common.violate("CAP-3", "the legacy stream cannot capture")) {
    return Result::stream_capture_unsupported;
  }
  if (state->capture != 0 && core_->common.violate("CAP-5", text("stream %u captures already", state->id))) {
    return Result::invalid_value;
  }
  std::vector<std::unique_ptr<Capture>>& captures = core_->captures;
  const auto slot = std::find(captures.begin(), captures.end(), nullptr);
  const auto index = static_cast<std::size_t>(slot - captures.begin());
  if (slot == captures.end()) captures.emplace_back();
  captures[index] =
      std::make_unique<Capture>(++core_->capture_ids, state->device, mode, core_->threads.current().id, state->id);
  state->capture = static_cast<std::uint32_t>(index) + 1;
  ++core_->active_captures;
  return Result::ok;
}

Result Machine::end_capture(int device, Stream stream, Graph& out) {
  const Lock lock = core_->enter();
  out = nullptr;
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  Capture* capture = core_->capture_of(*state);
  if (capture == nullptr || capture->origin() != state->id) {
    core_->common.violate("CAP-4", text("stream %u ends a capture that it did not begin", state->id));
    if (capture != nullptr) capture->invalidate();
    return capture == nullptr ? Result::invalid_value : code::capture_unmatched;
  }
  if (capture->mode() != CaptureMode::relaxed && capture->thread() != core_->threads.current().id &&
      core_->common.violate("CAP-4", text("capture %llu ends on another thread than it began", ull(capture->id())))) {
    return code::capture_wrong_thread;
  }
  Result result = capture->invalidated() ? Result::stream_capture_invalidated : Result::ok;
  if (result == Result::ok && !capture->joined() &&
      core_->common.violate("CAP-7", text("capture %llu ends while work of a stream that joined it is not waited for",
                                          ull(capture->id())))) {
    result = code::capture_unjoined;
  }
  for (const std::uint32_t member : capture->members()) core_->scheduler.stream(member).capture = 0;
  if (result == Result::ok) {
    const std::uint64_t handle = core_->graph_of(*capture);
    GraphEntry& entry = *core_->graphs.find(handle);
    entry.graph = std::make_shared<const GraphState>(capture->finish());
    entry.capture = 0;
    out = as_handle(handle);
  } else if (capture->graph_handle != 0) {
    core_->forget_graph(capture->graph_handle);
  }
  const auto slot =
      std::find_if(core_->captures.begin(), core_->captures.end(), [&](const auto& c) { return c.get() == capture; });
  slot->reset();
  --core_->active_captures;
  return result;
}

Result Machine::capture_info(int device, Stream stream, CaptureInfo& out) {
  const Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  out = {};
  // cuStreamGetCaptureInfo of the legacy stream: implicit error while a stream that synchronises with it captures. The
  // question alone invalidates nothing.
  if (state->legacy && core_->active_captures != 0) {
    for (const auto& capture : core_->captures) {
      if (capture == nullptr || capture->device() != state->device) continue;
      for (const std::uint32_t member : capture->members()) {
        if (!core_->scheduler.stream(member).flags.non_blocking) return Result::stream_capture_implicit;
      }
    }
  }
  if (const Capture* capture = core_->capture_of(*state)) {
    out.status = capture->invalidated() ? CaptureStatus::invalidated : CaptureStatus::active;
    out.id = capture->id();
  }
  return Result::ok;
}

Result Machine::capture_graph(int device, Stream stream, Graph& out) {
  const Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  Capture* capture = core_->capture_of(*state);
  if (capture == nullptr) return Result::invalid_value;
  out = as_handle(core_->graph_of(*capture));
  return Result::ok;
}

Result Machine::capture_dependencies(int device, Stream stream, std::span<const GraphNodeHandle>& out) {
  const Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  Capture* capture = core_->capture_of(*state);
  if (capture == nullptr) return Result::invalid_value;
  std::vector<GraphNodeHandle>& kept = capture->asked(state->id);
  kept = core_->node_handles(core_->graph_of(*capture), capture->ends(state->id));
  out = kept;
  return Result::ok;
}

Result Machine::exchange_capture_mode(int& mode) {
  const Lock lock = core_->enter();
  if (mode < 0 || mode > 2) return Result::invalid_value;
  HostThread& thread = core_->threads.current();
  const int before = static_cast<int>(thread.mode);
  thread.mode = static_cast<CaptureMode>(mode);
  mode = before;
  return Result::ok;
}

}  // namespace gapless::driver::sim

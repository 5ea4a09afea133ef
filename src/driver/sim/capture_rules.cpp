// SPDX-License-Identifier: Apache-2.0
// What a capture forbids to whom (docs/driver_contract.md, CAP).
#include "driver/sim/core.hpp"

namespace gapless::driver::sim {

Result Machine::Core::usable(StreamState& stream) {
  if (active_captures == 0) return Result::ok;
  if (stream.legacy) {
    for (const auto& capture : captures) {
      if (capture == nullptr || capture->device() != stream.device) continue;
      for (const std::uint32_t member : capture->members()) {
        if (scheduler.stream(member).flags.non_blocking) continue;
        if (!common.violate("CAP-3", text("the legacy stream is used while stream %u, which synchronises with it, "
                                          "captures",
                                          member)))
          continue;
        capture->invalidate();
        return Result::stream_capture_implicit;
      }
    }
  }
  const Capture* capture = capture_of(stream);
  return capture != nullptr && capture->invalidated() ? Result::stream_capture_invalidated : Result::ok;
}

// The rule of cuThreadExchangeStreamCaptureMode's documentation.
Result Machine::Core::safe_in_capture(const char* call) {
  if (active_captures == 0) return Result::ok;
  const HostThread& thread = threads.current();
  if (thread.mode == CaptureMode::relaxed) return Result::ok;
  Result result = Result::ok;
  for (const auto& capture : captures) {
    if (capture == nullptr) continue;
    const bool own = capture->thread() == thread.id && capture->mode() != CaptureMode::relaxed;
    const bool foreign = thread.mode == CaptureMode::global && capture->mode() == CaptureMode::global;
    if (!own && !foreign) continue;
    if (!common.violate("CAP-1",
                        text("%s is potentially unsafe while capture %llu is under way", call, ull(capture->id()))))
      continue;
    capture->invalidate();
    result = Result::stream_capture_unsupported;
  }
  return result;
}

Result Machine::Core::refuse_captured(Capture* capture, const char* call) {
  if (capture == nullptr) return Result::ok;
  if (!common.violate("CAP-2", text("%s of something that takes part in capture %llu", call, ull(capture->id()))))
    return Result::ok;
  capture->invalidate();
  return Result::stream_capture_unsupported;
}

Result Machine::Core::refuse_captured_event(const EventState& event, const char* call) {
  if (event.capture == 0) return Result::ok;
  for (const auto& capture : captures) {
    if (capture != nullptr && capture->id() == event.capture) return refuse_captured(capture.get(), call);
  }
  const bool refused =
      common.violate("CAP-2", text("%s of an event that was recorded in capture %llu only", call, ull(event.capture)));
  return refused ? code::captured_event : Result::ok;
}

Result Machine::Core::refuse_captured_device(int device, const char* call) {
  if (active_captures == 0) return Result::ok;
  for (const auto& capture : captures) {
    if (capture != nullptr && capture->device() == device) return refuse_captured(capture.get(), call);
  }
  return Result::ok;
}

}  // namespace gapless::driver::sim

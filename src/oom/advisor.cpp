// SPDX-License-Identifier: Apache-2.0
#include "oom/advisor.hpp"

namespace gapless::oom {

void advise(engine::DeviceAllocator& device, learn::Learner& learner, gapless_oom_record& record) {
  const engine::StepStart start = device.step_start();
  if (start.steps == 0) return;  // a program that marks nothing pays nothing for advice
  // A rehearsal says nothing about what fits, and a capture's failure nothing about the batch.
  const bool telling = record.verdict != GAPLESS_OOM_INJECTED && record.verdict != GAPLESS_OOM_CAPTURE;
  // What could have been live at the most, had it come in pieces of the right size.
  const std::uint64_t capacity =
      std::uint64_t{record.live_bytes} + record.pending_bytes + record.largest_obtainable_bytes;
  std::optional<gapless_suggestion> suggestion;
  if (telling) {
    static_cast<void>(
        device.look_at_step([&](const engine::StepView& step) { suggestion = learner.on_failure(step, capacity); }));
  } else {
    const auto prediction = learner.predict(record.device, start.label, record.step_units,
                                            learn::Situation{start.live_bytes, device.live_capacity()});
    if (prediction) suggestion = prediction->suggestion;
  }
  if (suggestion) record.suggestion = *suggestion;
}

Status forecast(engine::DeviceAllocator& device, learn::Learner& learner, std::uint64_t units, gapless_forecast& out) {
  const engine::StepStart start = device.step_start();
  if (start.steps == 0) return base::fail(Status::not_found, "no forecast: no step was marked");
  const auto prediction = learner.predict(device.state().device, start.label, units,
                                          learn::Situation{start.live_bytes, device.live_capacity()});
  if (!prediction)
    return base::fail(Status::not_found, std::string("no forecast: no step \"") + start.label +
                                             "\" with a known batch has ended well yet");
  out.peak_bytes = prediction->peak;
  out.available_bytes = prediction->available;
  out.suggestion = prediction->suggestion;
  return Status::ok;
}

}  // namespace gapless::oom

// SPDX-License-Identifier: Apache-2.0
#include "learn/recorded_step.hpp"

#include <algorithm>
#include <string_view>

namespace gapless::learn {

namespace {

bool in_optimizer(const engine::StepView& view, std::uint32_t time) {
  const auto after = std::upper_bound(view.phases.begin(), view.phases.end(), time,
                                      [](std::uint32_t t, const engine::PhaseMark& mark) { return t < mark.time; });
  return after != view.phases.begin() && std::string_view(std::prev(after)->label).starts_with("optim");
}

// Gradients and the optimizer's temporaries have the sizes of parameters. Activations may have them too, by chance or
// because both are powers of two; what tells them apart is when they live: gradients until the step's end, temporaries
// of the optimizer after the last activation has gone.
void mark_fixed(const engine::StepView& view, RecordedStep& step) {
  const auto lasting = [&](const Life& life) {
    return life.units >= kTellingUnits && view.lasting_sizes != nullptr &&
           std::binary_search(view.lasting_sizes->begin(), view.lasting_sizes->end(), life.units);
  };
  std::uint32_t last_birth = 0;
  std::uint32_t last_activation = 0;
  for (const Life& life : step.lives) {
    if (life.units < kTellingUnits || is_older(life)) continue;
    last_birth = std::max(last_birth, life.birth);
    if (!survives(life) && !lasting(life)) last_activation = std::max(last_activation, life.death);
  }
  step.fixed.reserve(step.lives.size());
  for (const Life& life : step.lives) {
    bool fixed = is_older(life) || (survives(life) && !view.failed) || in_optimizer(view, life.birth);
    if (!fixed && !view.failed && lasting(life)) fixed = life.death > last_birth || life.birth > last_activation;
    step.fixed.push_back(fixed ? 1 : 0);
  }
}

}  // namespace

RecordedStep record(const engine::StepView& view) {
  RecordedStep step;
  step.units = view.units;
  step.number = view.number;
  step.live_at_start = view.live_at_start;
  step.live_at_end = view.live_now;
  step.peak = view.peak;
  step.cut = view.failed;
  step.events = view.events;
  step.lives.assign(view.entries.begin(), view.entries.end());
  mark_fixed(view, step);
  return step;
}

}  // namespace gapless::learn

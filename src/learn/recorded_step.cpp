// SPDX-License-Identifier: Apache-2.0
#include "learn/recorded_step.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_map>

namespace gapless::learn {

namespace {

bool in_optimizer(const engine::StepView& view, std::uint32_t time) {
  const auto after = std::upper_bound(view.phases.begin(), view.phases.end(), time,
                                      [](std::uint32_t t, const engine::PhaseMark& mark) { return t < mark.time; });
  return after != view.phases.begin() && std::string_view(std::prev(after)->label).starts_with("optim");
}

bool lasts(const engine::StepView& view, std::uint32_t units, std::uint32_t least = kTellingUnits) {
  return units >= least && view.lasting_sizes != nullptr &&
         std::binary_search(view.lasting_sizes->begin(), view.lasting_sizes->end(), units);
}

// Of what says something.
std::uint32_t last_birth(const RecordedStep& step) {
  std::uint32_t last = 0;
  for (const Life& life : step.lives)
    if (life.units >= kTellingUnits && !is_older(life)) last = std::max(last, life.birth);
  return last;
}

// Mixed precision works on copies of the parameters, half as large, and makes their gradients in that size first. So
// where as many lives as two for each parameter's gradient have half its size, they are those; an activation of that
// size, by chance, would make more of them. Where it is also the size of another parameter, as many exactly. Small ones
// count: an attempt that fails in the first layer has shown no others.
void mark_copies(const engine::StepView& view, RecordedStep& step) {
  constexpr std::uint32_t kLeast = 32;
  std::unordered_map<std::uint32_t, std::uint32_t> lives, gradients;
  const std::uint32_t last = last_birth(step);
  for (std::size_t i = 0; i < step.lives.size(); i++) {
    const Life& life = step.lives[i];
    if (is_older(life)) continue;
    // Gradients stay until the end.
    if (lasts(view, life.units, kLeast) && life.death > last && !in_optimizer(view, life.birth))
      gradients[life.units]++;
    else if (step.fixed[i] == Fixed::no)
      lives[life.units]++;
  }
  for (std::size_t i = 0; i < step.lives.size(); i++) {
    const std::uint32_t units = step.lives[i].units;
    if (step.fixed[i] != Fixed::no || !lasts(view, 2 * units, kLeast)) continue;
    const std::uint32_t copies = 2 * gradients[2 * units];
    if (lasts(view, units) ? lives[units] == copies : lives[units] <= copies) step.fixed[i] = Fixed::by_half;
  }
}

// Gradients and the optimizer's temporaries have the sizes of parameters. Activations may have them too, by chance or
// because both are powers of two; what tells them apart is when they live: gradients until the step's end, temporaries
// of the optimizer after the last activation has gone.
void mark_fixed(const engine::StepView& view, RecordedStep& step) {
  const auto lasting = [&](const Life& life) { return lasts(view, life.units); };
  const std::uint32_t last = last_birth(step);
  std::uint32_t last_activation = 0;
  for (const Life& life : step.lives) {
    if (life.units < kTellingUnits || is_older(life)) continue;
    if (!survives(life) && !lasting(life)) last_activation = std::max(last_activation, life.death);
  }
  step.fixed.reserve(step.lives.size());
  for (const Life& life : step.lives) {
    Fixed fixed = Fixed::no;
    if (is_older(life) || (survives(life) && !view.failed) || in_optimizer(view, life.birth))
      fixed = Fixed::by_time;
    else if (!view.failed && lasting(life) && life.death > last)
      fixed = in_optimizer(view, last) ? Fixed::by_time : Fixed::by_size;
    else if (!view.failed && lasting(life) && life.birth > last_activation)
      fixed = Fixed::by_size;
    step.fixed.push_back(fixed);
  }
}

}  // namespace

std::vector<Event> in_order(const RecordedStep& step) {
  std::vector<Event> events(step.events, Event{kNoLife, false});
  for (std::uint32_t i = 0; i < step.lives.size(); i++) {
    const Life& life = step.lives[i];
    if (!is_older(life)) events[life.birth] = Event{i, true};
    if (!survives(life)) events[life.death] = Event{i, false};
  }
  std::erase_if(events, [](const Event& event) { return event.life == kNoLife; });
  return events;
}

RecordedStep record(const engine::StepView& view) {
  RecordedStep step;
  step.units = view.units;
  step.number = view.number;
  step.live_at_start = view.live_at_start;
  step.live_at_end = view.live_now;
  step.peak = view.peak;
  step.cut = view.failed;
  step.events = view.events;
  step.resident_threads = view.resident_threads;
  step.lives.assign(view.entries.begin(), view.entries.end());
  mark_fixed(view, step);
  if (!view.failed) mark_copies(view, step);
  return step;
}

}  // namespace gapless::learn

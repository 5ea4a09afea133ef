// SPDX-License-Identifier: Apache-2.0
// Steps that look like training: layers whose activations grow with the batch, gradients and temporaries that do not,
// an optimizer whose peak is a constant, kernels that change with the batch.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/units.hpp"
#include "learn/recorded_step.hpp"

namespace gapless::learn {

struct Shape {
  int layers = 12;
  std::uint64_t parameter_bytes = 8 * kMiB;   // of a layer
  std::uint64_t activation_bytes = 3 * kMiB;  // of a layer, for one sample
  std::uint64_t workspace_bytes = 4 * kMiB;   // of a layer, whatever the batch
  int optimizer_copies = 1;                   // temporaries of the optimizer: copies of all parameters
  bool workspaces_from_four = true;           // the workspaces are used from four samples on only
  bool first = false;                         // makes the optimizer's state
};

// The step as a list of calls: `allocate(bytes)` gives a number, `release(number)` frees it. False of `allocate`: out
// of memory, the step ends there and what it holds is released.
struct Calls {
  std::function<bool(std::uint64_t bytes, std::uint64_t& id)> allocate;
  std::function<void(std::uint64_t id)> release;
};

inline bool train_step(const Shape& shape, std::uint64_t units, const Calls& calls) {
  std::vector<std::uint64_t> held;
  bool ok = true;
  const auto take = [&](std::uint64_t bytes) {
    std::uint64_t id = 0;
    ok = ok && calls.allocate(bytes, id);
    if (ok) held.push_back(id);
    return id;
  };
  const auto drop = [&](std::uint64_t id) {
    if (std::erase(held, id) > 0) calls.release(id);
  };
  const std::uint64_t input = take(units * 777);
  std::vector<std::uint64_t> activations, gradients;
  for (int layer = 0; layer < shape.layers && ok; layer++) {
    if (shape.workspaces_from_four && units >= 4) drop(take(shape.workspace_bytes));
    activations.push_back(take(units * shape.activation_bytes));
    activations.push_back(take(units * shape.activation_bytes / 2 + 4096));
    drop(take(units * 4));
  }
  for (int layer = shape.layers - 1; layer >= 0 && ok; layer--) {
    const std::uint64_t of_output = take(units * shape.activation_bytes);
    gradients.push_back(take(shape.parameter_bytes));
    drop(of_output);
    drop(activations[static_cast<std::size_t>(2 * layer)]);
    drop(activations[static_cast<std::size_t>(2 * layer + 1)]);
  }
  if (ok && shape.first)
    for (int layer = 0; layer < shape.layers && ok; layer++) {
      std::uint64_t state = 0;
      ok = calls.allocate(2 * shape.parameter_bytes, state);  // it stays
    }
  std::vector<std::uint64_t> temporaries;
  for (int i = 0; i < shape.optimizer_copies * shape.layers && ok; i++)
    temporaries.push_back(take(shape.parameter_bytes));
  for (const std::uint64_t id : temporaries) drop(id);
  drop(input);
  while (!held.empty()) drop(held.back());
  return ok;
}

// Recorded without an allocator.
inline RecordedStep recorded(const Shape& shape, std::uint64_t units, std::uint64_t live_at_start,
                             std::uint64_t capacity = ~std::uint64_t{0}) {
  RecordedStep step;
  step.units = units;
  step.live_at_start = live_at_start;
  std::uint64_t live = live_at_start;
  std::uint64_t peak = live;
  bool failed = false;
  const auto rounded = [](std::uint64_t bytes) { return units_of(bytes).bytes(); };
  const Calls calls{[&](std::uint64_t bytes, std::uint64_t& id) {
                      if (live + rounded(bytes) > capacity) {
                        failed = true;
                        return false;
                      }
                      id = step.lives.size();
                      step.lives.push_back(Life{units_of(bytes).count(), step.events++, Life::kAlive, 0});
                      live += rounded(bytes);
                      peak = peak > live ? peak : live;
                      return true;
                    },
                    [&](std::uint64_t id) {
                      if (failed) return;  // the attempt is recorded as it was when it failed
                      step.lives[id].death = step.events++;
                      live -= Units(step.lives[id].units).bytes();
                    }};
  train_step(shape, units, calls);
  step.cut = failed;
  for (const Life& life : step.lives)
    step.fixed.push_back(survives(life) && !failed                               ? Fixed::by_time
                         : life.units == units_of(shape.parameter_bytes).count() ? Fixed::by_size
                                                                                 : Fixed::no);
  step.live_at_end = live;
  step.peak = peak;
  return step;
}

}  // namespace gapless::learn

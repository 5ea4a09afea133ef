// SPDX-License-Identifier: Apache-2.0
// What the marks of the training loop said. Under the fast lock.
#pragma once

#include <cstdint>

#include "gapless/gapless.h"

namespace gapless::engine {

struct StepMarks {
  char step_label[GAPLESS_LABEL_BYTES] = {};
  char phase_label[GAPLESS_LABEL_BYTES] = {};
  std::uint64_t steps = 0;
  std::uint64_t units = 0;
  std::int64_t first_allocation = 0;
  std::uint64_t live_at_start = 0;
  std::uint64_t last_good_peak = 0;
  bool failed = false;  // an OOM fell into this step
};

}  // namespace gapless::engine

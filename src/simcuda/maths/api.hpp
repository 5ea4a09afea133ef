// SPDX-License-Identifier: Apache-2.0
// Stand-ins for the maths libraries: descriptors are kept, sizes are answered, nothing is computed. A function that has
// no result for the host is a trampoline that succeeds; here are the others.
#pragma once

#include "simcuda/counters.hpp"
#include "simcuda/gapless_sim.h"

#define GAPLESS_SIM_MATHS_CALL(name)                                          \
  static gapless::simcuda::CallCounter call_counter{name, GAPLESS_SIM_MATHS}; \
  call_counter.hit()

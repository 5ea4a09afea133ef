// SPDX-License-Identifier: Apache-2.0
// The one machine of this process: who makes it, when, and what a forked child sees of it.
#pragma once

#include <string>

#include "driver/sim/machine.hpp"

namespace gapless::simcuda {

using Machine = driver::sim::Machine;

// Makes the machine from the options so far. Idempotent and thread-safe. 0, or the CUresult of cuInit: NOT_INITIALIZED
// in a child forked after the machine was made (a real driver's state does not survive fork either), INVALID_VALUE when
// GAPLESS_SIM cannot be read.
int initialise();

// Null before initialise(), and in a child forked after it.
Machine* machine();

// Changes what initialise() will make; 0, INVALID_VALUE or ILLEGAL_STATE, with the reason in `why`.
int configure(const char* options, std::string& why);

// The configured machine's capability times ten (80 for 8.0), from GAPLESS_SIM_CAPABILITY.
int capability();

}  // namespace gapless::simcuda

// SPDX-License-Identifier: Apache-2.0
// Errors of the functions in gapless_sim.h.
#pragma once

#include <string>

namespace gapless::simcuda {

// Keeps the text for gapless_sim_last_error on this thread; returns `code`.
int tool_error(int code, const std::string& text);

}  // namespace gapless::simcuda

// SPDX-License-Identifier: Apache-2.0
// Longer traces out of short ones.
#pragma once

#include "tools/trace.hpp"

namespace gapless::tools {

// Replays the second half of the steps `times` more, without the last, in which programs tidy up, and in place of it. A
// block that the half
// frees but did not make is, in a repetition, the one of its size and stream that the time before left alive. Throws
// TraceError when those differ: such a loop does not come back to where it began.
void repeat_steps(Trace& trace, unsigned times);

}  // namespace gapless::tools

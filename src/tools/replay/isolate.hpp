// SPDX-License-Identifier: Apache-2.0
// Work in processes of their own: neither the simulated device nor PyTorch's allocator can be started twice in one, and
// a crash in one replay must not take the others' results along.
#pragma once

#include <functional>
#include <vector>

#include "tools/replay/result.hpp"

namespace gapless::tools {

// Results in the order of the tasks, at most `jobs` processes at once. A SetupError of a child is thrown here; a child
// that dies gives a result with `error` set. Not for use while other threads run.
std::vector<ReplayResult> run_isolated(const std::vector<std::function<ReplayResult()>>& tasks, int jobs);

}  // namespace gapless::tools

// SPDX-License-Identifier: Apache-2.0
// One replay of one trace into one allocator. Once in a process: the device and the allocators keep their state.
#pragma once

#include "tools/replay/options.hpp"
#include "tools/replay/result.hpp"
#include "tools/trace.hpp"

namespace gapless::tools {

// With everything that the options ask for, but timing. Throws SetupError.
ReplayResult replay(const Trace& trace, const Options& options, AllocatorKind allocator, std::uint64_t size);

// CPU nanoseconds (the machine may be shared) for an allocation and its free, over the second half of the steps (the
// whole trace if it has none). Host synchronisation is left out, and so are device operations: under `eager` they
// change nothing, and other completions are not timed (0). The simulated driver's own time is in it, which is why the
// first half, where memory is created, is not.
double time_pairs(const Trace& trace, const Options& options, AllocatorKind allocator, std::uint64_t size);

}  // namespace gapless::tools

// SPDX-License-Identifier: Apache-2.0
// One allocator on one simulated device for all benchmarks of the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "gapless/gapless.h"

namespace gapless::bench {

// Loads the simulated device and opens the allocator. Throws when something is missing.
void set_up();

gapless_allocator* allocator();

// Stream 0 is the legacy default stream; others are created when first asked for. Not for concurrent use.
gapless_stream stream(int number);
void synchronize();

// cudaMalloc*, cudaFree* and cuMem* since the start.
std::uint64_t driver_calls();

// Calls with driver work since the start, those that order streams and wait included; cheap enough to ask around one
// allocation.
std::uint64_t calls_with_work();

// CPU time of the calling thread: the machine may be shared.
double cpu_nanoseconds();

// Ends the process when it fails: a benchmark of errors would measure nothing.
void* allocate(gapless_stream stream, std::size_t bytes);
inline void free(void* pointer) {
  (void)gapless_deallocate(allocator(), pointer);
}

}  // namespace gapless::bench

// SPDX-License-Identifier: Apache-2.0
// Calls counted by function name, for all five libraries in one list, which libcuda.so.1 owns.
#pragma once

#include <atomic>
#include <cstdint>

#include "simcuda/gapless_sim.h"

namespace gapless::simcuda {

struct CallCounter;

// In libcuda.so.1; the other libraries find it there.
extern "C" GAPLESS_SIM_EXPORT void gapless_sim_register_counter(CallCounter* counter);

// One static object in each counted function. It enters the list at its first hit, so that a library of a thousand
// functions costs nothing for those that nobody calls.
struct CallCounter {
  const char* name;
  int kind;
  std::atomic<std::uint64_t> calls{0};
  std::atomic<bool> registered{false};
  CallCounter* next = nullptr;

  constexpr CallCounter(const char* counter_name, int counter_kind) : name(counter_name), kind(counter_kind) {}

  void hit() {
    if (!registered.load(std::memory_order_acquire)) gapless_sim_register_counter(this);
    calls.fetch_add(1, std::memory_order_relaxed);
  }
};

// How deep the calling thread is inside the runtime, which stands on the driver's functions: those calls are the
// runtime's and are not counted again.
extern "C" GAPLESS_SIM_EXPORT int* gapless_sim_runtime_depth();

}  // namespace gapless::simcuda

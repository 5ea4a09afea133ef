// SPDX-License-Identifier: Apache-2.0
// Every operator new of the program, seen and refused. It is replaced, so this is for a program of its own.
#pragma once

#include <cstdint>

#include "base/lock.hpp"

namespace gapless::engine {

// Of this thread. What the simulated device asks for while it is called is not the engine's.
struct Watch {
  base::FastLock* fast = nullptr;  // of the device; null: nothing is watched
  std::uint64_t fail_at = 0;       // the how manieth request is refused; 0: none
  bool and_all_later = false;
  std::uint64_t requests = 0;
  std::uint64_t under_the_lock = 0;
};
Watch& watch();

}  // namespace gapless::engine

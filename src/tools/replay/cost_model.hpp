// SPDX-License-Identifier: Apache-2.0
// What a driver call costs on a real device, as far as public measurements tell. Nothing here was measured by this
// project: the figures order designs, they do not predict a run.
#pragma once

#include <cstdint>
#include <string_view>

namespace gapless::tools {

enum class CallClass {
  other,
  create,      // new physical memory
  map,         // belongs to creation when its handle is new in the same allocator call, else to remapping
  set_access,  // likewise
  remap,       // unmap, release, events, stream waits
  host_wait,   // the host waits: a stall when inside an allocation; its length is the program's, not the driver's
};

struct CallCost {
  std::string_view function;
  CallClass call_class = CallClass::other;
  double microseconds = 0;
  double microseconds_per_gib = 0;
};

// The row of a function, by its exported name with or without a version suffix (_v2, _ptsz); a row of class `other`
// and cost 0 for what the model does not know.
const CallCost& cost_of(std::string_view function);

// Of a call that handles so many bytes.
double cost_in_us(const CallCost& row, std::uint64_t bytes);

// Whether a call counts as a driver call: cudaMalloc*, cudaFree* and cuMem*.
bool is_memory_call(std::string_view function);

}  // namespace gapless::tools

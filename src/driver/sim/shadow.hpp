// SPDX-License-Identifier: Apache-2.0
// Who touched each byte of one physical allocation last. Kept by physical offset, so two addresses mapped to one handle
// meet in the same shadow. FastTrack's observation (Flanagan and Freund, PLDI 2009) bounds it: of writes only the last
// matters, of reads the last of each stream.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "driver/sim/clock.hpp"
#include "driver/sim/types.hpp"

namespace gapless::driver::sim {

// One operation's use of memory.
struct Use {
  std::uint32_t stream = 0;
  std::uint64_t position = 0;   // in its stream; 0: no use
  std::uint64_t operation = 0;  // the machine's number, for reports
  const char* name = "";
  Address via = 0;  // the address that physical offset 0 of the allocation would have through this mapping
  bool write = false;
  int device = 0;  // by whose rights
};

std::string describe_use(const Use& use);  // for reports

inline bool ordered_before(const Use& use, const Clock& clock) {
  return clock.at(use.stream) >= use.position;
}

class Shadow {
 public:
  // Records `use` of [begin, end) and returns an earlier use that `clock` (the stream's, before this operation) does
  // not order before it and of which one writes; position 0 where there is none.
  Use touch(std::uint64_t begin, std::uint64_t end, const Use& use, const Clock& clock);

 private:
  struct Cell {
    std::uint64_t end = 0;
    Use last_write;
    std::vector<Use> reads;  // since the last write, at most one of each stream
  };
  using Cells = std::map<std::uint64_t, Cell>;

  Cells::iterator split(std::uint64_t at);

  Cells cells_;  // start to cell; disjoint; untouched bytes have none
};

}  // namespace gapless::driver::sim

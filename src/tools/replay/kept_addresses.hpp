// SPDX-License-Identifier: Apache-2.0
// Which large allocations of a step have the address that their counterpart had in the last step of the same label.
// The counterpart of a step's n-th request of a size is the n-th request of that size: one allocation more or less
// shifts those of its own size only.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

namespace gapless::tools {

class KeptAddresses {
 public:
  // What PyTorch serves from its large pool.
  static constexpr std::uint64_t kLargerThan = 1 << 20;

  struct Share {
    std::uint64_t kept = 0;
    std::uint64_t of = 0;
  };

  // A step of that label begins; its predecessor ends.
  void begin(std::uint16_t label);
  // The step under way ends and none begins.
  void end();
  void allocated(std::uint64_t rounded_bytes, const void* address);

  // One for each step that ended, in their order. A label's first step has nothing to keep: {0, 0}.
  const std::vector<Share>& steps() const { return steps_; }

 private:
  using Addresses = std::unordered_map<std::uint64_t, std::vector<const void*>>;  // by size, in the order of requests

  bool open_ = false;
  std::uint16_t label_ = 0;
  Addresses now_;
  std::map<std::uint16_t, Addresses> last_;
  std::vector<Share> steps_;
};

}  // namespace gapless::tools

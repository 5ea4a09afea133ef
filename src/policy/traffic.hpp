// SPDX-License-Identifier: Apache-2.0
// When streams take so much of each other's memory that they had better share it (stream_sharing:auto).
#pragma once

#include <cstdint>

namespace gapless::policy {

// Running totals of a device.
struct Traffic {
  std::uint64_t allocations = 0;
  std::uint64_t crossings = 0;  // granules that one stream took from another, and blocks that it was lent
  std::uint64_t created = 0;    // granules
};

// Looks at windows of allocations. A loop that has settled crosses seldom: where in two windows in a row there is more
// than one crossing for eight allocations, and more of them than granules were created (while memory grows they say
// nothing), the streams should share. Once said, it stays.
class SharingSwitch {
 public:
  static constexpr std::uint64_t kWindow = 1024;
  static constexpr std::uint64_t kAllocationsPerCrossing = 8;

  bool on() const { return on_; }
  // To be called now and then, with totals that never fall.
  bool observe(const Traffic& now);

 private:
  Traffic window_;  // at its start
  bool busy_ = false;
  bool on_ = false;
};

}  // namespace gapless::policy

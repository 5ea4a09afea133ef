// SPDX-License-Identifier: Apache-2.0
// Vector clocks over streams. Position p of stream s is known to a clock when clock.at(s) >= p: everything in s up to
// its p-th operation happened before whatever the clock belongs to (a stream's next operation, an event, a host
// thread).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gapless::driver::sim {

class Clock {
 public:
  std::uint64_t at(std::uint32_t stream) const { return stream < known_.size() ? known_[stream] : 0; }

  void set(std::uint32_t stream, std::uint64_t position) {
    if (stream >= known_.size()) known_.resize(stream + 1);
    known_[stream] = std::max(known_[stream], position);
  }

  void join(const Clock& other) {
    if (known_.size() < other.known_.size()) known_.resize(other.known_.size());
    for (std::size_t i = 0; i < other.known_.size(); ++i) known_[i] = std::max(known_[i], other.known_[i]);
  }

 private:
  std::vector<std::uint64_t> known_;
};

}  // namespace gapless::driver::sim

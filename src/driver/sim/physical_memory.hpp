// SPDX-License-Identifier: Apache-2.0
// How many bytes of one device are taken, and the most that ever were. Knows amounts only: a real device has places for
// its granules too, but nothing that CUDA shows depends on them.
#pragma once

#include <algorithm>
#include <cstdint>

namespace gapless::driver::sim {

class PhysicalMemory {
 public:
  PhysicalMemory(std::uint64_t size, std::uint64_t other) : size_(size), other_(other) {}

  bool take(std::uint64_t bytes) {
    if (bytes > free_bytes()) return false;
    used_ += bytes;
    peak_ = std::max(peak_, used_);
    return true;
  }
  void give(std::uint64_t bytes) { used_ -= bytes; }

  std::uint64_t size() const { return size_; }
  std::uint64_t used() const { return used_; }
  std::uint64_t peak() const { return peak_; }
  std::uint64_t free_bytes() const { return size_ > used_ + other_ ? size_ - used_ - other_ : 0; }

  void set_size(std::uint64_t size) { size_ = size; }
  void set_other(std::uint64_t other) { other_ = other; }
  void reset_peak() { peak_ = used_; }

 private:
  std::uint64_t size_;
  std::uint64_t other_;
  std::uint64_t used_ = 0;
  std::uint64_t peak_ = 0;
};

}  // namespace gapless::driver::sim

// SPDX-License-Identifier: Apache-2.0
// What the machine keeps for each host thread that calls it: capture mode, per-thread default streams, and what the
// thread knows to be complete.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "driver/sim/clock.hpp"
#include "driver/sim/types.hpp"

namespace gapless::driver::sim {

struct HostThread {
  std::uint32_t id = 0;
  CaptureMode mode = CaptureMode::global;
  std::vector<std::uint32_t> default_streams;  // stream id + 1 of each device; 0: none yet
};

class HostThreads {
 public:
  explicit HostThreads(bool separate) : separate_(separate) {}

  // Threads are numbered in the order of their first call in the process: the same in every run of a program that
  // starts its threads in order.
  HostThread& current();
  // The calling thread's knowledge; all threads' where they are not told apart.
  Clock& clock();

  void release(std::uint64_t token) { tokens_[token].join(clock()); }
  void acquire(std::uint64_t token) { clock().join(tokens_[token]); }

 private:
  static std::uint32_t current_id();

  bool separate_;
  Clock shared_;
  std::vector<std::unique_ptr<HostThread>> threads_;
  std::vector<std::unique_ptr<Clock>> clocks_;
  std::map<std::uint64_t, Clock> tokens_;
};

}  // namespace gapless::driver::sim

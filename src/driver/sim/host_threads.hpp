// SPDX-License-Identifier: Apache-2.0
// What the machine keeps for each host thread that calls it: capture mode, per-thread default streams, and what the
// thread knows to be complete.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "driver/sim/clock.hpp"
#include "driver/sim/types.hpp"

namespace gapless::driver::sim {

// While it lives, the calling thread is inside a host function or a kernel's body, which call no CUDA (HOST-1).
class HostFunctionScope {
 public:
  HostFunctionScope() { ++depth_; }
  ~HostFunctionScope() { --depth_; }
  HostFunctionScope(const HostFunctionScope&) = delete;
  HostFunctionScope& operator=(const HostFunctionScope&) = delete;

  static bool active() { return depth_ != 0; }

 private:
  static inline thread_local int depth_ = 0;
};

struct HostThread {
  std::uint32_t id = 0;  // its own for ever
  CaptureMode mode = CaptureMode::global;
  std::vector<std::uint32_t> default_streams;  // stream id + 1 of each device; 0: none yet
  Clock clock;                                 // what it knows to be complete, where threads are told apart
};

class HostThreads {
 public:
  explicit HostThreads(bool separate) : separate_(separate) {}

  // Threads are numbered in the order of their first call in the process: the same in every run of a program that
  // starts its threads in order. What is kept of a thread that ended goes when another takes its place, so that it is
  // bounded by the threads that live at one time.
  HostThread& current();
  // The calling thread's knowledge; all threads' where they are not told apart.
  Clock& clock();

  void release(std::uint64_t token) { tokens_[token].join(clock()); }
  void acquire(std::uint64_t token) { clock().join(tokens_[token]); }

  // The default streams (stream id + 1) of threads that ended, once.
  std::vector<std::uint32_t> take_left_streams() { return std::exchange(left_streams_, {}); }

 private:
  bool separate_;
  Clock shared_;
  std::vector<std::unique_ptr<HostThread>> threads_;  // by place
  std::vector<std::uint32_t> left_streams_;
  std::map<std::uint64_t, Clock> tokens_;
};

}  // namespace gapless::driver::sim

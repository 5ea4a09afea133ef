// SPDX-License-Identifier: Apache-2.0
// The broken rules of docs/driver_contract.md, in the order they were found.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "driver/sim/config.hpp"
#include "driver/sim/types.hpp"

namespace gapless::driver::sim {

// The shell command that runs this process's program again on the same machine: same schedule, same seed. Without
// gapless-sim, which leaves its command line in the environment, only the variable can be named.
std::string run_again(const Config& config);

class Violations {
 public:
  explicit Violations(const Config& config) : config_(config) {}

  // `operation`: how many operations had been submitted, so that a run of the same seed can be stopped there.
  void add(const char* rule, std::uint64_t operation, std::string text);
  std::uint64_t count() const { return count_.load(std::memory_order_relaxed); }
  std::vector<Violation> list() const;

 private:
  static constexpr std::size_t kMostKept = 1000;  // a broken loop must not fill the memory; the count goes on

  const Config& config_;
  std::atomic<std::uint64_t> count_{0};
  mutable std::mutex mutex_;
  std::vector<Violation> list_;
};

}  // namespace gapless::driver::sim

// SPDX-License-Identifier: Apache-2.0
// Runs a program on gapless over a simulated device and holds every answer against the model and against what the
// device itself sees. The program uses its blocks: each allocation is written by its stream, each recorded stream
// reads, so that memory handed out too early is a violation on the strict device.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "driver/fault_driver.hpp"
#include "driver/sim/config.hpp"
#include "tools/op.hpp"

namespace gapless::testing {

struct Scenario {
  driver::sim::Config device;
  std::string options;  // in the grammar of GAPLESS_CONF
  std::vector<driver::FaultDriver::Rule> faults;
  std::uint64_t validate_every = 16;  // operations between full validations; 0: only at the end
  bool create_ahead = false;          // after each operation, as far as it goes
  bool check_promise = true;          // an out of memory must be one (without faults only)
};

struct Outcome {
  std::optional<std::string> problem;  // the first, with the index of the operation
  std::uint64_t allocations = 0, ooms = 0, driver_errors = 0;
  std::uint64_t injected = 0;      // driver calls that were made to fail
  std::uint64_t memory_calls = 0;  // driver calls in the project's sense, until the program's end
};

// Frees everything, trims and closes at the end, and checks that nothing is left.
Outcome run_program(const Scenario& scenario, std::span<const tools::Op> ops);

}  // namespace gapless::testing

// SPDX-License-Identifier: Apache-2.0
// The simulated machine as a DriverOps: what tests of the rungs above run on. Counts each call under its CUDA name.
#pragma once

#include <memory>

#include "driver/driver.hpp"
#include "driver/sim/machine.hpp"

namespace gapless::driver::sim {

// `machine` must outlive the driver.
std::unique_ptr<DriverOps> make_sim_driver(Machine& machine);

}  // namespace gapless::driver::sim

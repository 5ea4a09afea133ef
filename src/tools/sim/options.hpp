// SPDX-License-Identifier: Apache-2.0
// gapless-sim's command line.
#pragma once

#include <string>
#include <vector>

#include "driver/sim/config.hpp"

namespace gapless::tools {

struct SimOptions {
  driver::sim::Config machine;
  std::string capability;  // empty: the default of the simulation
  bool gapless = false;    // preload gapless too
  bool help = false;
  std::vector<std::string> command;
  std::string problem;  // of a value that was read and is refused all the same
};

// False with the reason in `why`.
bool parse_sim_options(int argc, char** argv, SimOptions& out, std::string& why);

// What --help prints.
const char* sim_usage();

}  // namespace gapless::tools

// SPDX-License-Identifier: Apache-2.0
// gapless-sim's command line.
#pragma once

#include <string>
#include <vector>

#include "driver/sim/config.hpp"

namespace gapless::tools {

struct SimOptions {
  driver::sim::Config machine = driver::sim::process_config();  // then GAPLESS_SIM, then the options
  std::string capability;                                       // empty: the default of the simulation
  std::string log;                                              // file for one line a driver call; empty: none
  bool gapless = false;                                         // preload gapless too
  bool help = false;
  std::vector<std::string> command;
  std::string problem;       // of a value that was read and is refused all the same
  std::string command_line;  // all of it, gapless-sim included, quoted for a shell
};

// False with the reason in `why`.
bool parse_sim_options(int argc, char** argv, SimOptions& out, std::string& why);

// What --help prints.
const char* sim_usage();

}  // namespace gapless::tools

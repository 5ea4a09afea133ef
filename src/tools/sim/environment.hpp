// SPDX-License-Identifier: Apache-2.0
// What a program needs in its environment to run on the simulated device unmodified.
#pragma once

#include <string>
#include <vector>

#include "tools/sim/options.hpp"

namespace gapless::tools {

struct SimLibraries {
  std::string directory;             // holds libcuda.so.1
  std::vector<std::string> preload;  // in loading order
};

// Finds the stand-ins beside the executable: in a build tree ../lib/simcuda, installed ../lib/gapless/simcuda.
// GAPLESS_SIM_LIBRARY_DIR overrides. False with the reason in `why`.
bool find_sim_libraries(const SimOptions& options, SimLibraries& out, std::string& why);

// Sets the variables in this process's environment, which the command inherits.
void set_sim_environment(const SimOptions& options, const SimLibraries& libraries);

// Address randomisation off: containers keyed by address would make runs differ. False when the kernel refuses.
bool disable_address_randomisation();

}  // namespace gapless::tools

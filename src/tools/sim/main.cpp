// SPDX-License-Identifier: Apache-2.0
// gapless-sim: runs a program on the simulated device. It sets the environment and becomes the program.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "tools/sim/environment.hpp"
#include "tools/sim/options.hpp"

namespace {

constexpr int kOwnFailure = 125;  // as env(1) and timeout(1)
constexpr int kCannotRun = 126;
constexpr int kNotFound = 127;

int fail(const std::string& why) {
  std::fprintf(stderr, "gapless-sim: %s\nTry 'gapless-sim --help'.\n", why.c_str());
  return kOwnFailure;
}

// The command may change directory before it exits, and a file of an earlier run must not pass for this one's.
bool prepare_file(const char* option, std::string& path, std::string& why) {
  if (path.empty()) return true;
  std::error_code error;
  path = std::filesystem::absolute(path, error).string();
  std::FILE* file = error ? nullptr : std::fopen(path.c_str(), "w");
  if (file == nullptr) {
    why = std::string(option) + ": cannot write " + path + ": " + std::strerror(errno);
    return false;
  }
  std::fclose(file);
  std::filesystem::remove(path, error);
  return true;
}

// "gapless-sim -- train.py" is what everybody types first.
std::string hint_for(const std::string& command, int error) {
  std::error_code ignored;
  const bool is_file = std::filesystem::is_regular_file(command, ignored);
  if (!is_file || (error != ENOENT && error != EACCES)) return {};
  if (command.ends_with(".py")) return "; did you mean: gapless-sim -- python " + command;
  return error == EACCES ? "; it is not executable" : "; did you mean: gapless-sim -- ./" + command;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace gapless::tools;
  SimOptions options;
  std::string why;
  if (!parse_sim_options(argc, argv, options, why)) return fail(why);
  if (options.help) {
    std::fputs(sim_usage(), stdout);
    return 0;
  }
  SimLibraries libraries;
  if (!find_sim_libraries(options, libraries, why) || !prepare_file("--stats", options.machine.stats, why) ||
      !prepare_file("--log", options.log, why))
    return fail(why);
  set_sim_environment(options, libraries);
  if (!disable_address_randomisation()) {
    std::fprintf(stderr, "gapless-sim: address randomisation stays on (%s): runs may differ in the order of frees\n",
                 std::strerror(errno));
  }
  std::vector<char*> arguments;
  for (std::string& each : options.command) arguments.push_back(each.data());
  arguments.push_back(nullptr);
  execvp(arguments.front(), arguments.data());
  const int error = errno;
  std::fprintf(stderr, "gapless-sim: cannot run %s: %s%s\n", arguments.front(), std::strerror(error),
               hint_for(arguments.front(), error).c_str());
  return error == ENOENT ? kNotFound : kCannotRun;
}

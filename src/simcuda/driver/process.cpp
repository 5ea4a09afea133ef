// SPDX-License-Identifier: Apache-2.0
#include "simcuda/driver/process.hpp"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>

#include "driver/sim/config.hpp"
#include "simcuda/driver/statistics.hpp"

namespace gapless::simcuda {
namespace {

constexpr int kInvalidValue = 1;
constexpr int kOutOfMemory = 2;
constexpr int kNotInitialized = 3;
constexpr int kIllegalState = 401;

struct Process {
  std::mutex mutex;
  driver::sim::Config config = driver::sim::process_config();
  bool environment_read = false;
  std::atomic<Machine*> machine{nullptr};
  bool forked = false;
  pid_t owner = 0;
};

// Never destroyed: other libraries' destructors free device memory after ours have run.
Process& process() {
  static Process* instance = new Process;
  return *instance;
}

bool read_environment(Process& p, std::string& why) {
  if (p.environment_read) return true;
  const char* text = std::getenv(driver::sim::kConfigVariable);
  if (text != nullptr && !driver::sim::parse_config(text, p.config, why)) return false;
  p.environment_read = true;
  return true;
}

void forget_in_child() {
  Process& p = process();
  if (p.machine.load(std::memory_order_relaxed) != nullptr) p.forked = true;
  p.machine.store(nullptr, std::memory_order_release);
}

// gapless-sim replaces itself by the command, so the command has its process id: only that process writes the file of
// the given name; any other process with a machine of its own writes beside it.
bool is_main_process(const Process& p) {
  const char* main_process = std::getenv("GAPLESS_SIM_MAIN_PID");
  return main_process == nullptr || std::to_string(p.owner) == main_process;
}

std::string stats_path(const Process& p) {
  return is_main_process(p) ? p.config.stats : p.config.stats + "." + std::to_string(p.owner);
}

// One write: lines of several processes do not mix.
void write_summary(const Process& p) {
  const std::string who = is_main_process(p) ? "" : "process " + std::to_string(p.owner) + ", ";
  const std::string line = "gapless-sim: " + who + statistics_line() + "\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

// Runs after the destructors of every library that depends on this one.
__attribute__((destructor)) void report_at_exit() {
  Process& p = process();
  if (p.machine.load() == nullptr || p.owner != getpid()) return;
  if (p.config.summary) write_summary(p);
  if (p.config.stats.empty()) return;
  const std::string path = stats_path(p);
  if (!write_statistics(path))
    std::fprintf(stderr, "gapless-sim: cannot write %s: %s\n", path.c_str(), std::strerror(errno));
}

}  // namespace

Machine* machine() {
  return process().machine.load(std::memory_order_acquire);
}

int initialise() {
  Process& p = process();
  if (p.machine.load(std::memory_order_acquire) != nullptr) return 0;
  std::lock_guard lock(p.mutex);
  if (p.forked) return kNotInitialized;
  if (p.machine.load(std::memory_order_relaxed) != nullptr) return 0;
  std::string why;
  if (!read_environment(p, why)) {
    std::fprintf(stderr, "gapless-sim: %s: %s\n", driver::sim::kConfigVariable, why.c_str());
    return kInvalidValue;
  }
  p.owner = getpid();
  pthread_atfork(nullptr, nullptr, forget_in_child);
  try {
    p.machine.store(new Machine(p.config), std::memory_order_release);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gapless-sim: %s\n", error.what());
    return kOutOfMemory;
  }
  return 0;
}

int configure(const char* options, std::string& why) {
  Process& p = process();
  std::lock_guard lock(p.mutex);
  if (p.machine.load() != nullptr || p.forked) {
    why = "the machine exists already: configure it before the first CUDA call";
    return kIllegalState;
  }
  driver::sim::Config config;
  if (!read_environment(p, why)) return kInvalidValue;
  config = p.config;
  if (options == nullptr || !driver::sim::parse_config(options, config, why)) return kInvalidValue;
  p.config = config;
  return 0;
}

int capability() {
  static const int value = [] {
    const char* text = std::getenv("GAPLESS_SIM_CAPABILITY");
    int major = 0;
    int minor = 0;
    if (text != nullptr && std::sscanf(text, "%d.%d", &major, &minor) == 2 && major > 0 && minor >= 0 && minor < 10) {
      return major * 10 + minor;
    }
    return 80;
  }();
  return value;
}

}  // namespace gapless::simcuda

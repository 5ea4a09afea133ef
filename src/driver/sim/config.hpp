// SPDX-License-Identifier: Apache-2.0
// What a simulated machine is like: one struct, and the text form that crosses process borders in GAPLESS_SIM.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gapless::driver::sim {

// When does queued device work complete?
enum class Completion {
  eager,   // as soon as it is submitted
  lazy,    // only when a host synchronisation needs it, and then only what it depends on
  random,  // a seeded coin decides at every call
  lag,     // when N further operations were submitted to the machine
  manual,  // when the test says so (Machine::step), or a host synchronisation needs it
};

struct Config {
  std::uint64_t size = 80ull << 30;  // physical bytes of each device
  std::uint64_t other = 0;           // of these, bytes held by other processes
  int devices = 1;
  std::uint64_t seed = 1;  // owns every random decision
  Completion completion = Completion::lag;
  std::uint64_t lag = 0;          // operations, for Completion::lag
  bool strict = false;            // happens-before, shadow of accesses, pending-use checks
  bool threads_separate = false;  // strict: each host thread has its own clock (driver_contract.md, Host threads)
  bool free_orders = true;        // cuMemFree waits for the device's work; false: strict reports who relies on it
  bool sticky = false;            // an illegal access poisons the device: every later call fails with 700
  bool abort_on_violation = false;
  bool report = false;   // broken rules are also written to stderr
  bool summary = false;  // one line on stderr when the process ends: peak physical bytes, broken rules
  bool data = false;     // memory behind the addresses, for the host to read; else D2H copies give zeros
  std::uint64_t data_max = 16ull << 20;  // data: longer copies and fills are dropped, so that RAM stays bounded
  bool reserve_host_va = false;    // the device's addresses are reserved PROT_NONE in this process; data implies it
  bool fixed_base = true;          // at 0x200000000000, so that every run sees the same addresses
  std::uint64_t va = 32ull << 40;  // bytes of virtual addresses
  bool virtual_memory = true;      // false: a device without virtual memory management (old driver, vGPU, WSL)
  bool gpu_direct_rdma = false;    // the device says that other devices of the bus can reach its mappings
  bool fabric = false;             // the device says that it makes fabric handles
  bool fabric_permitted = true;    // false: it says so, but the process has no channel, so that making one is refused
  std::string stats;               // file for the JSON statistics at exit; empty: none
  // For the mutation check of tests/contract only, so it has no text form: a rule, or the lines of one of its
  // enforcements ("core.cpp:20-24"), that this machine does not know.
  std::string without;
};

// "size=80GiB,devices=1,other=0,seed=1,completion=lag:0,strict=0,stats=FILE". Keys in any order, all optional; `stats`
// takes the rest of the text, commas included, so it comes last. Sizes: a number, optionally followed by K, M, G, T,
// with or without iB (powers of 1024). On an error: false, `why` says which key, and `out` is unchanged.
bool parse_config(std::string_view text, Config& out, std::string& why);
bool parse_completion(std::string_view text,
                      Config& out);  // "eager", "lazy", "random", "random:SEED", "lag:N", "manual"
bool parse_size(std::string_view text, std::uint64_t& out);
std::string format_config(const Config& config);  // parse_config's inverse

// The defaults of a machine that is the device of a whole process (simcuda): its addresses are reserved, and broken
// rules are written to stderr as they are found.
inline Config process_config() {
  Config config;
  config.reserve_host_va = true;
  config.report = true;
  return config;
}

// GAPLESS_SIM of the environment; the defaults where it is not set.
inline constexpr const char* kConfigVariable = "GAPLESS_SIM";
// The command line of gapless-sim, quoted for a shell: what a report says to run again.
inline constexpr const char* kCommandVariable = "GAPLESS_SIM_COMMAND_LINE";

}  // namespace gapless::driver::sim

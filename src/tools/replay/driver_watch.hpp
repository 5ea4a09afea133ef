// SPDX-License-Identifier: Apache-2.0
// What an allocator asks of the driver: modelled times, stalls, the call log, and the mappings for the picture.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "simcuda/gapless_sim.h"
#include "tools/replay/cost_model.hpp"

namespace gapless::tools {

struct DriverTime {
  double create_us = 0;  // creation, with map and set_access of handles created in the same allocator call
  double remap_us = 0;   // everything else that the model knows
  std::uint64_t stalls = 0;

  double creator_us = 0;  // of a thread beside the allocator's callers: in none of the others

  double total_us() const { return create_us + remap_us; }
  friend DriverTime operator-(const DriverTime& a, const DriverTime& b) {
    return {a.create_us - b.create_us, a.remap_us - b.remap_us, a.stalls - b.stalls, a.creator_us - b.creator_us};
  }
};

// A range of device addresses became mapped (cudaMalloc, cuMemMap) or unmapped, at an event of the trace.
struct MappingChange {
  std::size_t event;
  std::uint64_t address;
  std::uint64_t bytes;
  bool mapped;
};

class DriverWatch {
 public:
  DriverWatch() = default;
  ~DriverWatch();
  DriverWatch(const DriverWatch&) = delete;
  DriverWatch& operator=(const DriverWatch&) = delete;

  // Throws SetupError when the file cannot be written.
  void log_to(const std::string& path);
  // Throws SetupError where not all of it could be written.
  void end_log();
  void keep_mappings() { keep_mappings_ = true; }

  // The observer of gapless_sim_set_observer; user is a DriverWatch.
  static void on_call(void* user, const gapless_sim_call* call);

  // Brackets one call of the allocator: only then are calls the allocator's, and "the same call" of the cost model is
  // this bracket.
  void begin(std::size_t event, char letter);
  void end() { inside_ = false; }

  // While it is set, calls are another thread's.
  void set_beside(bool beside) { beside_ = beside; }
  // Called with the modelled microseconds that each of the allocator's callers' calls took, after it.
  void on_time(std::function<void(double)> passed) { passed_ = std::move(passed); }

  // Calls inside brackets that are not memory calls: events and waits.
  std::map<std::string, std::uint64_t> event_calls() const;
  // Calls of a function, inside brackets, that the device refused as not supported or not permitted: questions about
  // what it can do (PyTorch asks once for fabric handles by trying), not memory work.
  std::uint64_t refused(const std::string& function) const;
  const DriverTime& time() const { return time_; }
  const std::vector<MappingChange>& mappings() const { return mappings_; }

 private:
  struct Range {
    std::uint64_t begin, end;
  };

  void handle(const gapless_sim_call& call);
  double charge(const gapless_sim_call& call, const CallCost& cost);
  bool all_new(std::uint64_t begin, std::uint64_t end) const;
  void write_log(const gapless_sim_call& call);
  void track_mapping(const gapless_sim_call& call);

  bool inside_ = false;
  bool beside_ = false;
  std::function<void(double)> passed_;
  char letter_ = ' ';  // the trace's letter of the event: only waits inside 'a' are stalls
  std::size_t event_ = 0;
  DriverTime time_;
  // Of the current bracket: handles made, ranges that they were mapped at, sorted by begin.
  std::unordered_set<std::uint64_t> new_handles_;
  std::vector<Range> new_ranges_;
  // Names are static strings, so their addresses identify them.
  struct Function {
    const CallCost* cost = nullptr;
    std::uint64_t calls = 0;
    std::uint64_t refused = 0;
  };
  std::unordered_map<const char*, Function> functions_;

  std::FILE* log_ = nullptr;
  std::string log_path_;
  bool keep_mappings_ = false;
  std::vector<MappingChange> mappings_;
  std::unordered_map<std::uint64_t, std::uint64_t> linear_;  // cudaMalloc address -> bytes
};

}  // namespace gapless::tools

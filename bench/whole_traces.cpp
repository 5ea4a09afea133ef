// SPDX-License-Identifier: Apache-2.0
// Recorded loops from end to end, again and again: what is live at the end of a pass is freed before the next. The
// first pass, which makes the memory, is not timed. Time is per pass; the counter has nanoseconds for each pair.
#include <benchmark/benchmark.h>

#include <filesystem>
#include <map>
#include <vector>

#include "fixture.hpp"
#include "tools/trace.hpp"

namespace gapless::bench {
namespace {

using tools::Op;
using tools::OpKind;

class Pass {
 public:
  explicit Pass(const tools::Trace& trace) : trace_(trace), blocks_(trace.slots) {
    // Numbers apart from those of the other benchmarks' streams.
    for (const auto number : trace.streams) streams_[number] = number == 0 ? nullptr : stream(100 + number);
  }

  void run() {
    for (const Op& op : trace_.ops) {
      switch (op.kind) {
        case OpKind::allocate:
          blocks_[op.id] = allocate(streams_[op.stream], op.bytes);
          break;
        case OpKind::free:
          free(blocks_[op.id]);
          blocks_[op.id] = nullptr;
          break;
        case OpKind::record_stream:
          (void)gapless_record_stream(allocator(), blocks_[op.id], streams_[op.stream]);
          break;
        default:
          break;
      }
    }
    for (void*& block : blocks_) {
      free(block);
      block = nullptr;
    }
  }

 private:
  const tools::Trace& trace_;
  std::vector<void*> blocks_;
  std::map<std::int32_t, gapless_stream> streams_;
};

void whole_trace(benchmark::State& state, const std::string& path) {
  const tools::Trace trace = tools::read_trace(path);
  Pass pass(trace);
  pass.run();
  const double start = cpu_nanoseconds();
  for (auto _ : state) pass.run();
  state.counters["ns_per_pair"] =
      (cpu_nanoseconds() - start) / (static_cast<double>(state.iterations()) * static_cast<double>(trace.allocations));
  synchronize();
  if (gapless_trim(allocator(), 0, gapless_pool_id{0, 0}, 0, nullptr) != GAPLESS_OK)
    state.SkipWithError("gapless_trim");
}

// Registered by name at start: a new trace in the folder is a new benchmark.
const bool registered = [] {
  std::map<std::string, std::string> files;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(GAPLESS_TRACES, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".trace.gz")) files[name.substr(0, name.size() - 9)] = entry.path().string();
  }
  for (const auto& [name, path] : files) {
    benchmark::RegisterBenchmark(("whole_trace/" + name).c_str(), whole_trace, path)->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace
}  // namespace gapless::bench

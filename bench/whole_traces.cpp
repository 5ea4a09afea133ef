// SPDX-License-Identifier: Apache-2.0
// Recorded loops from end to end, again and again: what is live at the end of a pass is freed before the next. The
// first pass, which makes the memory, is not timed. Time is per pass; the counter has nanoseconds for each pair.
//
// call_percentiles times each allocation and each free that does no driver work by itself; of the others it says the
// share. The clock's own time is in the figures, and stands beside them.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
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
    run([](auto call) { call(); });
  }
  // `around` is given each allocation and each free.
  template <typename Around>
  void run(Around around) {
    for (const Op& op : trace_.ops) {
      switch (op.kind) {
        case OpKind::allocate: {
          const gapless_stream on = streams_[op.stream];
          around([&] { blocks_[op.id] = allocate(on, op.bytes); });
          break;
        }
        case OpKind::free:
          around([&] { free(blocks_[op.id]); });
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

using Clock = std::chrono::steady_clock;

std::uint32_t nanoseconds_of(Clock::duration time) {
  return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(time).count());
}

void call_percentiles(benchmark::State& state, const std::string& path) {
  const tools::Trace trace = tools::read_trace(path);
  Pass pass(trace);
  pass.run();
  std::vector<std::uint32_t> times;
  times.reserve(std::size_t{1} << 24);
  std::uint64_t with_work = 0;
  for (auto _ : state)
    pass.run([&](auto call) {
      const std::uint64_t before = calls_with_work();
      const auto start = Clock::now();
      call();
      const auto end = Clock::now();
      if (calls_with_work() != before)
        with_work++;
      else if (times.size() < times.capacity())
        times.push_back(nanoseconds_of(end - start));
    });
  const double all = static_cast<double>(with_work + times.size());
  state.counters["with_work_percent"] = 100.0 * static_cast<double>(with_work) / all;
  std::vector<std::uint32_t> clock(1 << 16);
  for (std::uint32_t& one : clock) {
    const auto start = Clock::now();
    one = nanoseconds_of(Clock::now() - start);
  }
  const auto at = [](std::vector<std::uint32_t>& values, double part) {
    const auto nth = values.begin() + static_cast<std::ptrdiff_t>(part * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), nth, values.end());
    return static_cast<double>(*nth);
  };
  state.counters["clock_ns"] = at(clock, 0.5);
  state.counters["p50_ns"] = at(times, 0.5);
  state.counters["p99_ns"] = at(times, 0.99);
  state.counters["p999_ns"] = at(times, 0.999);
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
    benchmark::RegisterBenchmark(("call_percentiles/" + name).c_str(), call_percentiles, path)
        ->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace
}  // namespace gapless::bench

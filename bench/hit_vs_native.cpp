// SPDX-License-Identifier: Apache-2.0
// What an allocation and its free cost in PyTorch's native allocator and in gapless, both through c10's CUDAAllocator
// in one process, statistics on, history off. Device memory is there before the clock starts.
#include <cstdio>
#include <cstring>
#include <ctime>
#include <exception>
#include <string>
#include <vector>

#include "patterns.hpp"
#include "tools/replay/cost_model.hpp"
#include "tools/replay/shared_library.hpp"
#include "tools/replay/sim_device.hpp"
#include "torch_pair.h"

namespace gapless::bench {
namespace {

constexpr const char* kUsage =
    R"(usage: hit_vs_native [--repetitions N] [--pairs N] [--traces-only] [--once] [TRACE...]
CPU nanoseconds for an allocation and its free, the least of N repetitions taken in turn, and driver calls in a repetition.
--once runs each pattern once in each allocator, native first, from trimmed memory and without a clock: for callgrind
(bench/callgrind_pair); it prints a line for each run.
)";

struct Arguments {
  int repetitions = 15;
  std::uint64_t pairs = 200000;
  bool once = false;
  bool traces_only = false;
  std::vector<std::string> traces;
  bool bad = false;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const char* const value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (word.substr(0, 2) != "--") {
      arguments.traces.push_back(word);
      continue;
    }
    if (word == "--once" || word == "--traces-only") {
      (word == "--once" ? arguments.once : arguments.traces_only) = true;
      continue;
    }
    ++i;
    try {
      if (value == nullptr) {
        arguments.bad = true;
      } else if (word == "--repetitions") {
        arguments.repetitions = std::stoi(value);
      } else if (word == "--pairs") {
        arguments.pairs = std::stoull(value);
      } else {
        arguments.bad = true;
      }
    } catch (const std::exception&) {
      arguments.bad = true;
    }
  }
  return arguments;
}

// CPU time of this thread: the machine may be shared.
double cpu_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

class Bench {
 public:
  Bench()
      : device_(options_, options_.size),
        library_(tools::library_beside_program("libgapless_bench_torch.so", "no torch"), true) {
    library_.bind("torch_pair_open", open_);
    library_.bind("torch_pair_run", run_);
    library_.bind("torch_pair_trim", trim_);
    const std::string file = tools::library_beside_program(GAPLESS_TORCH_LIBRARY, "the PyTorch library is not built");
    if (const char* error = open_(file.c_str())) throw tools::SetupError(error);
  }

  // Nanoseconds a pair.
  double once(int which, const Pattern& pattern) {
    std::vector<void*> blocks(pattern.slots, nullptr);
    std::vector<void*> streams;
    for (std::int32_t i = 0; i < pattern.streams; ++i) streams.push_back(device_.stream(i));
    const double start = cpu_nanoseconds();
    const char* const error = run_(which, pattern.ops.data(), pattern.ops.size(), blocks.data(), streams.data());
    const double elapsed = cpu_nanoseconds() - start;
    if (error != nullptr) throw tools::SetupError(error);
    // Frees that wait for another stream's event are finished before the next repetition, not in it.
    device_.synchronize(tools::kEveryStream);
    return elapsed / static_cast<double>(pattern.pairs);
  }

  void trim() {
    if (const char* error = trim_()) throw tools::SetupError(error);
  }

  std::uint64_t driver_calls() const {
    std::uint64_t sum = 0;
    for (const auto& [name, count] : device_.calls()) sum += tools::is_memory_call(name) ? count : 0;
    return sum;
  }

 private:
  tools::Options options_;
  tools::SimDevice device_;
  tools::SharedLibrary library_;
  decltype(&torch_pair_open) open_ = nullptr;
  decltype(&torch_pair_run) run_ = nullptr;
  decltype(&torch_pair_trim) trim_ = nullptr;
};

struct Cost {
  double nanoseconds = 1e300;
  std::uint64_t driver_calls = 0;
};

void measure(Bench& bench, const Pattern& pattern, int repetitions) {
  Cost costs[2];
  // Twice, so that what the first pass left behind is in place for the second.
  bench.trim();
  for (int which = 0; which < 2; ++which) bench.once(which, pattern), bench.once(which, pattern);
  for (int i = 0; i < repetitions; ++i) {
    for (int which = 0; which < 2; ++which) {
      const auto before = bench.driver_calls();
      const double nanoseconds = bench.once(which, pattern);
      Cost& cost = costs[which];
      if (nanoseconds < cost.nanoseconds) cost = {nanoseconds, bench.driver_calls() - before};
    }
  }
  const Cost& native = costs[TORCH_PAIR_NATIVE];
  const Cost& ours = costs[TORCH_PAIR_GAPLESS];
  std::printf("%-24s %10llu %9.1f %9.1f %7.3f %8llu %8llu\n", pattern.name.c_str(),
              static_cast<unsigned long long>(pattern.pairs), native.nanoseconds, ours.nanoseconds,
              ours.nanoseconds / native.nanoseconds, static_cast<unsigned long long>(native.driver_calls),
              static_cast<unsigned long long>(ours.driver_calls));
  std::fflush(stdout);
}

int run(const Arguments& arguments) {
  std::vector<Pattern> patterns;
  if (!arguments.traces_only) {
    for (const int shift : {9, 16, 20, 24}) patterns.push_back(single(std::uint64_t{1} << shift, arguments.pairs));
    patterns.push_back(working_set("set, 512 B .. 1 MiB", 512, 1 << 20, arguments.pairs));
    patterns.push_back(working_set("set, 512 B .. 64 MiB", 512, 64 << 20, arguments.pairs));
  }
  for (const auto& path : arguments.traces) patterns.push_back(from_trace(path));

  Bench bench;
  if (arguments.once) {
    for (const auto& pattern : patterns) {
      for (int which = 0; which < 2; ++which) {
        bench.trim();
        bench.once(which, pattern);
        std::printf("%s\t%llu\t%s\n", which == TORCH_PAIR_NATIVE ? "native" : "gapless",
                    static_cast<unsigned long long>(pattern.pairs), pattern.name.c_str());
      }
    }
    return 0;
  }
  std::printf("%-24s %10s %9s %9s %7s %8s %8s\n", "pattern", "pairs", "native ns", "ours ns", "ratio", "calls n.",
              "calls o.");
  for (const auto& pattern : patterns) measure(bench, pattern, arguments.repetitions);
  return 0;
}

}  // namespace
}  // namespace gapless::bench

int main(int argc, char** argv) {
  const auto arguments = gapless::bench::parse(argc, argv);
  if (arguments.bad || arguments.repetitions < 1 || arguments.pairs < 1024) {
    std::fputs(gapless::bench::kUsage, stderr);
    return 2;
  }
  try {
    return gapless::bench::run(arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hit_vs_native: %s\n", error.what());
    return 3;
  }
}

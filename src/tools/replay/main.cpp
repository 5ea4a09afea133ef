// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>

#include "tools/repeat.hpp"
#include "tools/replay/isolate.hpp"
#include "tools/replay/min_fit.hpp"
#include "tools/replay/picture.hpp"
#include "tools/replay/report.hpp"
#include "tools/replay/runner.hpp"
#include "tools/replay/shared_library.hpp"

namespace gapless::tools {
namespace {

enum ExitCode { kComplete = 0, kIncomplete = 1, kUsage = 2, kSetup = 3 };

// --first: the peak is then that of the part replayed.
void shorten(Trace& trace, const std::string& first) {
  if (first.empty()) return;
  std::size_t keep = 0;
  if (first.back() == '%') {
    keep = static_cast<std::size_t>(std::ceil(std::stod(first) / 100 * static_cast<double>(trace.ops.size())));
  } else {
    keep = std::stoull(first);
  }
  truncate(trace, keep);
}

double time_isolated(const Trace& trace, const Options& options, AllocatorKind allocator) {
  const std::vector<std::function<ReplayResult()>> tasks(static_cast<std::size_t>(options.timing_runs), [&] {
    ReplayResult timed;
    timed.ns_per_pair = time_pairs(trace, options, allocator, options.size);
    return timed;
  });
  double least = 0;
  for (const auto& timed : run_isolated(tasks, 1)) {
    if (timed.ns_per_pair > 0 && (least == 0 || timed.ns_per_pair < least)) least = timed.ns_per_pair;
  }
  return least;
}

ReplayResult run_one(const Trace& trace, const Options& options, AllocatorKind allocator) {
  ReplayResult result = run_isolated({[&] { return replay(trace, options, allocator, options.size); }}, 1).front();
  // A process that died knew nothing of what it replayed.
  result.name = trace.name;
  result.allocator = allocator;
  result.size = options.size;
  result.peak_live = trace.peak_live_bytes;
  if (result.completed) result.ns_per_pair = time_isolated(trace, options, allocator);
  if (options.min_fit) result.min_fit = min_fit(trace, options, allocator);
  return result;
}

// A replay takes minutes: what its picture could not be written to is said before. What is there stays, until there is
// a picture to put in its place.
void require_writable(const std::string& path) {
  if (path.empty()) return;
  errno = 0;
  const std::ofstream file(path, std::ios::app);
  if (!file) throw SetupError("cannot write " + path + ": " + std::strerror(errno));
}

int run(const Options& options) {
  require_writable(options.html_path);
  bool all_well = true;
  std::vector<std::string> pictures;
  if (!options.json) std::cout << table_header() << std::endl;
  for (const auto& path : options.traces) {
    Trace trace = read_trace(path);
    shorten(trace, options.first);
    if (options.repeat > 0) repeat_steps(trace, static_cast<unsigned>(options.repeat));
    for (const auto allocator : options.allocators) {
      ReplayResult result = run_one(trace, options, allocator);
      all_well = all_well && result.completed && result.violations == 0;
      pictures.push_back(std::move(result.picture));
      std::cout << (options.json ? json_line(result, options.min_fit) : table_line(result)) << std::endl;
    }
  }
  if (!options.html_path.empty()) {
    std::ofstream page(options.html_path);
    page << page_of(pictures);
    page.close();
    if (!page) throw SetupError("cannot write " + options.html_path);
  }
  return all_well ? kComplete : kIncomplete;
}

}  // namespace
}  // namespace gapless::tools

int main(int argc, char** argv) {
  using namespace gapless::tools;
  try {
    const Options options = parse_options({argv + 1, argv + argc});
    if (options.help) {
      std::cout << usage_text();
      return kComplete;
    }
    return run(options);
  } catch (const UsageError& error) {
    std::cerr << "gapless-replay: " << error.what() << "\nTry 'gapless-replay --help'.\n";
    return kUsage;
  } catch (const std::exception& error) {
    std::cerr << "gapless-replay: " << error.what() << "\n";
    return kSetup;
  }
}

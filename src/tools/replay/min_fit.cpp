// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/min_fit.hpp"

#include <cmath>

#include "tools/replay/isolate.hpp"
#include "tools/replay/runner.hpp"

namespace gapless::tools {

double min_fit(const Trace& trace, const Options& options, AllocatorKind allocator) {
  Options plain = options;
  plain.log_path.clear();
  plain.html_path.clear();
  const FitGrid grid = options.grid;
  auto point = static_cast<long>(std::floor((grid.high - grid.low) / grid.step + 1e-9));
  double safe = 0;
  while (point >= 0) {
    std::vector<std::function<ReplayResult()>> tasks;
    std::vector<double> multiples;
    for (int i = 0; i < options.jobs && point >= 0; ++i, --point) {
      const double multiple = grid.low + static_cast<double>(point) * grid.step;
      const auto size = static_cast<std::uint64_t>(std::floor(multiple * static_cast<double>(trace.peak_live_bytes)));
      multiples.push_back(multiple);
      tasks.emplace_back([&trace, &plain, allocator, size] { return replay(trace, plain, allocator, size); });
    }
    const auto results = run_isolated(tasks, options.jobs);
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (!results[i].completed) return safe;
      safe = multiples[i];
    }
  }
  return safe;
}

}  // namespace gapless::tools

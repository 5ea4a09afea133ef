// SPDX-License-Identifier: Apache-2.0
// Allocations whose memory has to be made first: the allocator's work and the simulated driver's, as CPU time. On a GPU
// the driver's part is hundreds of microseconds for each granule.
#include <benchmark/benchmark.h>

#include "fixture.hpp"

namespace gapless::bench {
namespace {

void miss_and_trim(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  const auto calls = driver_calls();
  for (auto _ : state) {
    free(allocate(nullptr, bytes));
    if (gapless_trim(allocator(), 0, gapless_pool_id{0, 0}, 0, nullptr) != GAPLESS_OK)
      state.SkipWithError("gapless_trim");
  }
  state.counters["driver_calls_each"] =
      benchmark::Counter(static_cast<double>(driver_calls() - calls), benchmark::Counter::kAvgIterations);
}
BENCHMARK(miss_and_trim)->Arg(512)->Arg(2 << 20)->Arg(64 << 20)->Arg(1 << 30);

}  // namespace
}  // namespace gapless::bench

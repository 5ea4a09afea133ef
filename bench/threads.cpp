// SPDX-License-Identifier: Apache-2.0
// Several host threads, as a data loader beside a training loop or a server's workers.
#include <benchmark/benchmark.h>

#include <array>

#include "fixture.hpp"

namespace gapless::bench {
namespace {

constexpr int kMostThreads = 8;
std::array<gapless_stream, kMostThreads> streams;

void make_streams(const benchmark::State&) {
  for (int i = 0; i < kMostThreads; ++i) streams[static_cast<std::size_t>(i)] = stream(10 + i);
}

void hits_by_threads(benchmark::State& state, bool own_stream) {
  const auto index = own_stream ? static_cast<std::size_t>(state.thread_index()) : 0;
  const auto bytes = static_cast<std::size_t>(state.range(0));
  const gapless_stream mine = streams[index];
  free(allocate(mine, bytes));
  for (auto _ : state) {
    void* const pointer = allocate(mine, bytes);
    benchmark::DoNotOptimize(pointer);
    free(pointer);
  }
}

void hits_on_own_streams(benchmark::State& state) {
  hits_by_threads(state, true);
}
void hits_on_one_stream(benchmark::State& state) {
  hits_by_threads(state, false);
}
BENCHMARK(hits_on_own_streams)
    ->Arg(64 << 10)
    ->Arg(20 << 20)
    ->Setup(make_streams)
    ->ThreadRange(1, kMostThreads)
    ->UseRealTime();
BENCHMARK(hits_on_one_stream)->Arg(64 << 10)->Setup(make_streams)->ThreadRange(1, kMostThreads)->UseRealTime();

}  // namespace
}  // namespace gapless::bench

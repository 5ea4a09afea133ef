// SPDX-License-Identifier: Apache-2.0
// Allocations whose memory is there: no driver call. A pair is an allocation and its free.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "fixture.hpp"

namespace gapless::bench {
namespace {

void hit_of_one_size(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  free(allocate(nullptr, bytes));
  const auto calls = driver_calls();
  for (auto _ : state) {
    void* const pointer = allocate(nullptr, bytes);
    benchmark::DoNotOptimize(pointer);
    free(pointer);
  }
  state.counters["driver_calls"] = static_cast<double>(driver_calls() - calls);
}
BENCHMARK(hit_of_one_size)->Arg(512)->Arg(64 << 10)->Arg(1 << 20)->Arg(20 << 20)->Arg(1 << 30);

// A working set of mixed sizes, one block replaced at a time: bins, splits and merges at work.
void hit_in_a_working_set(benchmark::State& state) {
  constexpr std::size_t kBlocks = 1024;
  std::mt19937_64 random(1);
  const auto low = static_cast<double>(state.range(0));
  const auto high = static_cast<double>(state.range(1));
  std::uniform_real_distribution<double> exponent(std::log2(low), std::log2(high));
  // A fixed cycle of sizes, so that after the first round memory is there.
  std::array<std::size_t, kBlocks> sizes{};
  for (auto& size : sizes) size = static_cast<std::size_t>(std::exp2(exponent(random)));
  std::vector<void*> blocks(kBlocks);
  for (std::size_t i = 0; i < kBlocks; ++i) blocks[i] = allocate(nullptr, sizes[i]);
  std::size_t at = 0;
  const auto replace = [&] {
    at = (at + 389) % kBlocks;  // coprime: all blocks in an order unlike that of their making
    free(blocks[at]);
    blocks[at] = allocate(nullptr, sizes[at]);
  };
  for (std::size_t i = 0; i < 4 * kBlocks; ++i) replace();
  const auto calls = driver_calls();
  for (auto _ : state) replace();
  state.counters["driver_calls"] = static_cast<double>(driver_calls() - calls);
  for (void* block : blocks) free(block);
}
BENCHMARK(hit_in_a_working_set)
    ->ArgNames({"from", "to"})
    ->Args({512, 1 << 20})
    ->Args({1 << 20, 64 << 20})
    ->Args({512, 64 << 20});

// Requests that go to the lowest place (docs/adr/0010), while `free` larger places of their bin are free: all are
// looked at, 64 at most. The lowest was freed first.
void hit_in_a_crowded_bin(benchmark::State& state) {
  constexpr std::size_t kMore = 4096;  // the same bin, and too large to be taken as they are
  constexpr std::size_t kWall = 2 << 20;
  const auto bytes = static_cast<std::size_t>(state.range(0)) << 20;
  const auto count = static_cast<std::size_t>(state.range(1));
  std::vector<void*> places(count), walls(count);
  for (std::size_t i = 0; i < count; ++i) {
    places[i] = allocate(nullptr, bytes + kMore);
    walls[i] = allocate(nullptr, kWall);
  }
  std::sort(places.begin(), places.end());
  for (void* const place : places) free(place);
  void* const expected = places[count > 64 ? count - 64 : 0];
  const auto calls = driver_calls();
  for (auto _ : state) {
    void* const pointer = allocate(nullptr, bytes);
    if (pointer != expected) state.SkipWithError("placed elsewhere");
    free(pointer);
  }
  state.counters["driver_calls"] = static_cast<double>(driver_calls() - calls);
  for (void* const wall : walls) free(wall);
}
BENCHMARK(hit_in_a_crowded_bin)->ArgNames({"MiB", "free"})->ArgsProduct({{24, 64}, {1, 8, 64, 256}});

// A block used by a second stream before its free, as record_stream tells.
void hit_across_streams(benchmark::State& state) {
  constexpr std::size_t kBytes = 4 << 20;
  const gapless_stream producer = stream(1);
  const gapless_stream consumer = stream(2);
  for (auto _ : state) {
    void* const pointer = allocate(producer, kBytes);
    if (gapless_record_stream(allocator(), pointer, consumer) != GAPLESS_OK) state.SkipWithError("record_stream");
    free(pointer);
  }
  synchronize();
}
BENCHMARK(hit_across_streams);

}  // namespace
}  // namespace gapless::bench

// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include <cstdio>
#include <exception>

#include "fixture.hpp"

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  try {
    gapless::bench::set_up();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gapless_bench: %s\n", error.what());
    return 3;
  }
  benchmark::AddCustomContext("device", "simulated: no figure here is a GPU timing");
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// What the simulated device adds to each driver call: everything else's tests and benchmarks pay this. Book mode, not
// strict; the bar is 1 us a call. `strict` beside it, for comparison.
#include <benchmark/benchmark.h>
#include <dlfcn.h>

#include <cstdlib>
#include <memory>

#include "driver/sim/machine.hpp"
#include "driver/sim/sim_driver.hpp"

namespace gapless::bench {
namespace {

using driver::Address;
using driver::Event;
using driver::Handle;
using driver::Result;
using driver::Stream;

constexpr std::size_t kGranule = 2u << 20;

// A device with a heap's worth of state: 20,000 mapped granules, 8 streams, 64 events.
struct Device {
  explicit Device(bool strict) : machine(config(strict)), ops(driver::sim::make_sim_driver(machine)) {
    check(ops->address_reserve(kGranules * 2 * kGranule, 0, base));
    for (std::size_t i = 0; i < kGranules; ++i) {
      Handle handle = 0;
      check(ops->create(0, kGranule, {}, handle));
      check(ops->map(base + i * kGranule, kGranule, handle));
    }
    check(ops->set_access(base, kGranules * kGranule, {&kZero, 1}));
    check(ops->create(0, kGranule, {}, spare));
    for (Stream& stream : streams) check(machine.stream_create(0, {.non_blocking = true}, stream));
    for (Event& event : events) check(ops->event_create(0, event));
  }
  static driver::sim::Config config(bool strict) {
    driver::sim::Config config;
    config.strict = strict;
    config.completion = driver::sim::Completion::eager;
    return config;
  }
  static void check(Result result) {
    if (result != Result::ok) std::abort();
  }

  static constexpr int kZero = 0;
  static constexpr std::size_t kGranules = 20'000;
  driver::sim::Machine machine;
  std::unique_ptr<driver::DriverOps> ops;
  Address base = 0;
  Handle spare = 0;
  Stream streams[8] = {};
  Event events[64] = {};
};

Device& device(benchmark::State& state) {
  static Device book(false);
  static Device strict(true);
  return state.range(0) == 0 ? book : strict;
}

void create_release(benchmark::State& state) {
  Device& d = device(state);
  for (auto _ : state) {
    Handle handle = 0;
    d.check(d.ops->create(0, kGranule, {}, handle));
    d.check(d.ops->release(handle));
  }
  state.SetItemsProcessed(state.iterations() * 2);
}

void map_access_unmap(benchmark::State& state) {
  Device& d = device(state);
  std::size_t at = 0;
  for (auto _ : state) {
    const Address address = d.base + (Device::kGranules + at++ % Device::kGranules) * kGranule;
    d.check(d.ops->map(address, kGranule, d.spare));
    d.check(d.ops->set_access(address, kGranule, {&Device::kZero, 1}));
    d.check(d.ops->unmap(address, kGranule));
  }
  state.SetItemsProcessed(state.iterations() * 3);
}

void record_wait_query(benchmark::State& state) {
  Device& d = device(state);
  std::size_t i = 0;
  for (auto _ : state) {
    ++i;
    d.check(d.ops->event_record(0, d.events[i % 64], d.streams[i % 8]));
    d.check(d.ops->stream_wait_event(0, d.streams[(i + 3) % 8], d.events[i % 64]));
    d.check(d.ops->event_query(0, d.events[i % 64]));
  }
  state.SetItemsProcessed(state.iterations() * 3);
}

void launch(benchmark::State& state) {
  Device& d = device(state);
  driver::sim::Operation operation;
  operation.name = "kernel";
  std::size_t i = 0;
  for (auto _ : state) d.check(d.machine.submit(0, d.streams[++i % 8], operation));
  state.SetItemsProcessed(state.iterations());
}

// In strict mode each fill is judged against who touched these bytes before.
void fill(benchmark::State& state) {
  Device& d = device(state);
  std::size_t i = 0;
  for (auto _ : state) {
    ++i;
    d.check(d.machine.fill(0, d.streams[0], {.to = d.base + i % Device::kGranules * kGranule, .elements = 4096}));
  }
  state.SetItemsProcessed(state.iterations());
}

void allocate_free(benchmark::State& state) {
  Device& d = device(state);
  for (auto _ : state) {
    Address address = 0;
    d.check(d.machine.allocate(0, 20u << 20, address));
    d.check(d.machine.free(0, address));
  }
  state.SetItemsProcessed(state.iterations() * 2);
}

// What a program pays: the same calls through the stand-ins of libcudart and libcuda.
struct Runtime {
  Runtime() {
    void* const driver = dlopen(GAPLESS_SIMCUDA "/libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    void* const runtime = driver == nullptr ? nullptr : dlopen(GAPLESS_SIMCUDA "/libcudart.so.13", RTLD_NOW);
    if (runtime == nullptr) std::abort();
    const auto find = [runtime]<typename F>(F& out, const char* name) {
      out = reinterpret_cast<F>(dlsym(runtime, name));
    };
    find(stream_create, "cudaStreamCreateWithFlags");
    find(event_create, "cudaEventCreateWithFlags");
    find(event_record, "cudaEventRecord");
    find(event_query, "cudaEventQuery");
    find(stream_wait_event, "cudaStreamWaitEvent");
    find(memory_allocate, "cudaMalloc");
    find(memory_free, "cudaFree");
    check(stream_create(&stream, 1));
    check(event_create(&event, 2));
  }
  static void check(int error) {
    if (error != 0) std::abort();
  }
  int (*stream_create)(void**, unsigned) = nullptr;
  int (*event_create)(void**, unsigned) = nullptr;
  int (*event_record)(void*, void*) = nullptr;
  int (*event_query)(void*) = nullptr;
  int (*stream_wait_event)(void*, void*, unsigned) = nullptr;
  int (*memory_allocate)(void**, std::size_t) = nullptr;
  int (*memory_free)(void*) = nullptr;
  void* stream = nullptr;
  void* event = nullptr;
};

Runtime& runtime() {
  static Runtime one;
  return one;
}

void runtime_record_wait_query(benchmark::State& state) {
  const Runtime& r = runtime();
  for (auto _ : state) {
    r.check(r.event_record(r.event, r.stream));
    r.check(r.stream_wait_event(r.stream, r.event, 0));
    r.check(r.event_query(r.event));
  }
  state.SetItemsProcessed(state.iterations() * 3);
}

void runtime_allocate_free(benchmark::State& state) {
  const Runtime& r = runtime();
  for (auto _ : state) {
    void* address = nullptr;
    r.check(r.memory_allocate(&address, 20u << 20));
    r.check(r.memory_free(address));
  }
  state.SetItemsProcessed(state.iterations() * 2);
}

BENCHMARK(runtime_record_wait_query)->ArgName("strict")->Arg(0);
BENCHMARK(runtime_allocate_free)->ArgName("strict")->Arg(0);
BENCHMARK(create_release)->ArgName("strict")->Arg(0)->Arg(1);
BENCHMARK(map_access_unmap)->ArgName("strict")->Arg(0)->Arg(1);
BENCHMARK(record_wait_query)->ArgName("strict")->Arg(0)->Arg(1);
BENCHMARK(launch)->ArgName("strict")->Arg(0)->Arg(1);
BENCHMARK(fill)->ArgName("strict")->Arg(0)->Arg(1);
BENCHMARK(allocate_free)->ArgName("strict")->Arg(0)->Arg(1);

}  // namespace
}  // namespace gapless::bench

BENCHMARK_MAIN();

// SPDX-License-Identifier: Apache-2.0
#include "fixture.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>

#include "tools/op.hpp"
#include "tools/replay/cost_model.hpp"
#include "tools/replay/sim_device.hpp"

namespace gapless::bench {
namespace {

std::unique_ptr<tools::SimDevice> device;
gapless_allocator* shared_allocator = nullptr;
std::atomic<std::uint64_t> work{0};  // some benchmarks run on several threads

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "gapless_bench: %s: %s\n", what, gapless_last_error());
  std::exit(3);
}

}  // namespace

void set_up() {
  tools::Options options;
  options.size = std::uint64_t{80} << 30;  // a card's: reservations and their tables are sized by it
  device = std::make_unique<tools::SimDevice>(options, options.size);
  device->observe([](void*, const gapless_sim_call*) { work.fetch_add(1, std::memory_order_relaxed); }, nullptr);
  gapless_open_args args = GAPLESS_STRUCT(gapless_open_args);
  args.ignore_environment = 1;
  if (gapless_open(&args, &shared_allocator) != GAPLESS_OK) die("gapless_open");
}

gapless_allocator* allocator() {
  return shared_allocator;
}
gapless_stream stream(int number) {
  return device->stream(number);
}
void synchronize() {
  device->synchronize(tools::kEveryStream);
}

std::uint64_t driver_calls() {
  std::uint64_t sum = 0;
  for (const auto& [name, count] : device->calls()) sum += tools::is_memory_call(name) ? count : 0;
  return sum;
}

std::uint64_t calls_with_work() {
  return work.load(std::memory_order_relaxed);
}

double cpu_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

void* allocate(gapless_stream stream, std::size_t bytes) {
  void* pointer = nullptr;
  if (gapless_allocate(shared_allocator, 0, stream, bytes, &pointer) != GAPLESS_OK) die("gapless_allocate");
  return pointer;
}

}  // namespace gapless::bench

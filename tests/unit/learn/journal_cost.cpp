// SPDX-License-Identifier: Apache-2.0
// Hits with the journal off and on, each in a function of its own, for callgrind to count: check_journal_cost.py.
#include <gapless/gapless.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/units.hpp"
#include "capi/handle.hpp"
#include "driver/forwarding_driver.hpp"
#include "driver/sim/sim_driver.hpp"

namespace {

// The allocator owns its driver; this one passes all calls on.
class Chain final : public gapless::driver::ForwardingDriver {
 public:
  using ForwardingDriver::ForwardingDriver;
};

constexpr int kPairs = 20000;
constexpr int kHeld = 64;

void run(gapless_allocator* allocator) {
  void* held[kHeld] = {};
  for (int i = 0; i < kPairs; i++) {
    void*& slot = held[i % kHeld];
    if (gapless_deallocate(allocator, slot) != GAPLESS_OK) std::abort();
    if (gapless_allocate(allocator, 0, nullptr, static_cast<size_t>(i % 13 + 1) * 100000, &slot) != GAPLESS_OK)
      std::abort();
  }
  for (void* const block : held)
    if (gapless_deallocate(allocator, block) != GAPLESS_OK) std::abort();
}

}  // namespace

extern "C" {
[[gnu::noinline]] void journal_off(gapless_allocator* allocator) {
  run(allocator);
  asm volatile("");
}
[[gnu::noinline]] void journal_on(gapless_allocator* allocator) {
  run(allocator);
  asm volatile("" ::: "memory");
}
}

int main() {
  gapless::driver::sim::Config config;
  config.reserve_host_va = false;
  gapless::driver::sim::Machine machine(config);
  const std::unique_ptr<gapless::driver::DriverOps> sim = gapless::driver::sim::make_sim_driver(machine);
  gapless_allocator* allocator = nullptr;
  if (gapless::capi::open_with_driver(std::make_unique<Chain>(*sim), {}, &allocator) != GAPLESS_OK) return 1;
  run(allocator);
  run(allocator);
  journal_off(allocator);
  if (gapless_mark_step(allocator, 0, "", 1) != GAPLESS_OK) return 1;
  journal_on(allocator);
  std::printf("%d\n", kPairs);
  return gapless_close(allocator) == GAPLESS_OK ? 0 : 1;
}

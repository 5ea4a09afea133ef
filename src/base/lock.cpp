// SPDX-License-Identifier: Apache-2.0
#include "base/lock.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gapless::base {
namespace {

void pause_processor() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

long futex(std::atomic<std::uint32_t>* word, int operation, std::uint32_t value) {
  return syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(word), operation, value, nullptr, nullptr, 0);
}

// About the time of a few critical sections; sleeping and waking costs microseconds.
constexpr int kSpins = 200;

}  // namespace

void SpinThenSleepLock::lock_contended() {
  for (int i = 0; i < kSpins; i++) {
    if (word_.load(std::memory_order_relaxed) == 0 && try_lock()) return;
    pause_processor();
  }
  while (word_.exchange(2, std::memory_order_acquire) != 0) futex(&word_, FUTEX_WAIT_PRIVATE, 2);
}

void SpinThenSleepLock::wake() {
  futex(&word_, FUTEX_WAKE_PRIVATE, 1);
}

#if GAPLESS_CHECK_LEVEL >= 2
namespace detail {
namespace {
thread_local unsigned held = 0;  // bit r: a lock of rank r is held
}

void entering(Rank rank, bool blocking) {
  const unsigned bit = 1u << static_cast<unsigned>(rank);
  // A blocking lock() while the same or a higher rank is held can deadlock; try_lock() cannot.
  if (blocking) GAPLESS_CHECK(2, "L1", held < bit);
  held |= bit;
}

void leaving(Rank rank) {
  held &= ~(1u << static_cast<unsigned>(rank));
}

}  // namespace detail
#endif

}  // namespace gapless::base

// SPDX-License-Identifier: Apache-2.0
// Locks with ranks. A thread takes locks in ascending rank only; builds with checks of level 2 verify it at each
// lock().
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "base/check.hpp"
#include "base/compiler.hpp"

namespace gapless::base {

// In the order in which they may be taken.
enum class Rank : std::uint8_t {
  process = 0,   // the list of the process's allocators; held across a fork
  registry = 1,  // one allocator's devices coming up, its options
  map = 2,       // serialises misses of one device; held across driver calls
  creator = 3,   // one device's handle that is being made ahead; held across that driver call
  fast = 4,      // hits, frees and counters of one device; never held across a driver call or a callback
  leaf = 5,      // lists that call nothing
};

namespace detail {
#if GAPLESS_CHECK_LEVEL >= 2
void entering(Rank rank, bool blocking);
void leaving(Rank rank);
#else
inline void entering(Rank, bool) {}
inline void leaving(Rank) {}
#endif
}  // namespace detail

// One word: 0 free, 1 held, 2 held and somebody sleeps. Critical sections under it are tens of nanoseconds, so it spins
// first; a thread that lost its processor while holding it must not make others burn theirs, so it then sleeps.
class SpinThenSleepLock {
 public:
  GAPLESS_FAST void lock() {
    std::uint32_t expected = 0;
    if (!word_.compare_exchange_strong(expected, 1, std::memory_order_acquire, std::memory_order_relaxed)) [[unlikely]]
      lock_contended();
  }
  GAPLESS_FAST bool try_lock() {
    std::uint32_t expected = 0;
    return word_.compare_exchange_strong(expected, 1, std::memory_order_acquire, std::memory_order_relaxed);
  }
  GAPLESS_FAST void unlock() {
    if (word_.exchange(0, std::memory_order_release) == 2) [[unlikely]]
      wake();
  }

 private:
  GAPLESS_SLOW void lock_contended();
  GAPLESS_SLOW void wake();
  std::atomic<std::uint32_t> word_{0};
};

template <typename Lock, Rank kRank>
class RankedLock {
 public:
  GAPLESS_FAST void lock() {
    detail::entering(kRank, true);
    lock_.lock();
  }
  GAPLESS_FAST bool try_lock() {
    if (!lock_.try_lock()) return false;
    detail::entering(kRank, false);
    return true;
  }
  GAPLESS_FAST void unlock() {
    lock_.unlock();
    detail::leaving(kRank);
  }

 private:
  Lock lock_;
};

using FastLock = RankedLock<SpinThenSleepLock, Rank::fast>;
using MapLock = RankedLock<std::mutex, Rank::map>;
using ProcessLock = RankedLock<std::mutex, Rank::process>;
using RegistryLock = RankedLock<std::mutex, Rank::registry>;
using CreatorLock = RankedLock<std::mutex, Rank::creator>;
using LeafLock = RankedLock<std::mutex, Rank::leaf>;

}  // namespace gapless::base

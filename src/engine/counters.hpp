// SPDX-License-Identifier: Apache-2.0
// Statistics in PyTorch's definitions. Kept under the fast lock; the hit path pays the few additions of on_alloc and
// on_free, the rest is derived when somebody reads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/compiler.hpp"
#include "gapless/gapless.h"
#include "heap/heap.hpp"

namespace gapless::engine {

// The three figures that change with every allocation.
struct Volume {
  std::int64_t bytes = 0;      // block sizes
  std::int64_t requested = 0;  // as asked for
  std::int64_t blocks = 0;

  friend Volume operator+(const Volume& a, const Volume& b) {
    return {a.bytes + b.bytes, a.requested + b.requested, a.blocks + b.blocks};
  }
  friend Volume operator-(const Volume& a, const Volume& b) {
    return {a.bytes - b.bytes, a.requested - b.requested, a.blocks - b.blocks};
  }
  GAPLESS_FAST void raise_to(const Volume& other) {
    bytes = std::max(bytes, other.bytes);
    requested = std::max(requested, other.requested);
    blocks = std::max(blocks, other.blocks);
  }
};

struct Gauge {
  std::int64_t current = 0, peak = 0, allocated = 0, freed = 0;
  void add(std::int64_t amount) {
    current += amount;
    allocated += amount;
    peak = std::max(peak, current);
  }
  void remove(std::int64_t amount) {
    current -= amount;
    freed += amount;
  }
};

class Counters {
 public:
  GAPLESS_FAST void on_alloc(heap::SizeClass size_class, Units size, std::uint64_t requested) {
    const auto c = static_cast<std::size_t>(size_class);
    Volume& now = allocated_[c];
    Volume& ever = ever_[c];
    const auto bytes = static_cast<std::int64_t>(size.bytes());
    const auto asked = static_cast<std::int64_t>(requested);
    now.bytes += bytes;
    now.requested += asked;
    now.blocks++;
    ever.bytes += bytes;
    ever.requested += asked;
    ever.blocks++;
    // Raised by comparison, not by conditional moves: a new peak is rare and well predicted.
    raise(peak_[c], now);
    raise(peak_[2], allocated_[0] + allocated_[1]);
  }
  GAPLESS_FAST void on_free(heap::SizeClass size_class, Units size, std::uint64_t requested) {
    Volume& now = allocated_[static_cast<std::size_t>(size_class)];
    now.bytes -= static_cast<std::int64_t>(size.bytes());
    now.requested -= static_cast<std::int64_t>(requested);
    now.blocks--;
  }

  // A freed block waits for streams, or no longer does.
  void on_pending(heap::SizeClass size_class, Units size, int sign);
  bool any_pending() const { return pending_[0].blocks + pending_[1].blocks != 0; }
  // While blocks are pending, active differs from allocated and its peak is followed here, after each on_alloc.
  void follow_active_peak();

  std::uint64_t live_bytes() const { return static_cast<std::uint64_t>(allocated_[0].bytes + allocated_[1].bytes); }
  std::uint64_t pending_bytes() const { return static_cast<std::uint64_t>(pending_[0].bytes + pending_[1].bytes); }
  // The peak of live bytes in the life of the process; resetting the statistics does not change it.
  std::uint64_t peak_live() const {
    return std::max(peak_live_before_reset_, static_cast<std::uint64_t>(peak_[2].bytes));
  }

  // Physical bytes, by the class of the heap they are active in. Loose handles count as large.
  void on_reserved(heap::SizeClass size_class, std::int64_t bytes);
  void on_segment(heap::SizeClass size_class, int sign);
  void on_reserved_moved(heap::SizeClass from, heap::SizeClass to, std::int64_t bytes);

  void read(gapless_stats& out) const;
  void reset_peaks();
  // A step begins. Returns the peak of live bytes of the one that ends.
  std::uint64_t restart_step();
  std::uint64_t step_peak() const { return static_cast<std::uint64_t>(peak_[2].bytes); }
  std::int64_t allocations() const { return ever_[0].blocks + ever_[1].blocks; }
  void reset_accumulated();

  Gauge reserved[GAPLESS_STAT_TYPES];
  Gauge segments[GAPLESS_STAT_TYPES];  // of pools with a source of their own
  Gauge oversize_allocations;
  std::int64_t alloc_retries = 0, ooms = 0, sync_all_streams = 0, creates = 0, releases = 0;
  std::int64_t misses = 0, reactivations = 0, moves = 0, lends = 0, wait_edges = 0;
  std::int64_t repeated = 0, kept = 0;  // large blocks of marked steps: KeptAddresses

 private:
  GAPLESS_FAST static void raise(Volume& peak, const Volume& now) {
    if (now.bytes > peak.bytes || now.requested > peak.requested || now.blocks > peak.blocks) [[unlikely]]
      peak.raise_to(now);
  }

  Volume allocated_[2];    // by class
  Volume ever_[2];         // allocated in the life of the process
  Volume peak_[3];         // small, large, all: of the current step
  Volume peak_before_[3];  // of the steps before it, since the peaks were reset
  Volume pending_[2];
  Volume active_peak_[3];
  // The last reset of the accumulated figures.
  struct {
    Volume ever[2], allocated[2], pending[2];
  } reset_;
  std::uint64_t peak_live_before_reset_ = 0;
};

}  // namespace gapless::engine

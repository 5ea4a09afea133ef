// SPDX-License-Identifier: Apache-2.0
#include "engine/counters.hpp"

namespace gapless::engine {

namespace {

// PyTorch's order is all, small, large; ours is small, large, all.
constexpr int kIndex[3] = {GAPLESS_SMALL_POOL, GAPLESS_LARGE_POOL, GAPLESS_ALL};

// `before`: the current value at the last reset of the accumulated figures.
gapless_stat stat(std::int64_t current, std::int64_t peak, std::int64_t allocated, std::int64_t before) {
  return {current, std::max(peak, current), allocated, allocated - (current - before)};
}
gapless_stat stat(const Gauge& gauge) {
  return {gauge.current, gauge.peak, gauge.allocated, gauge.freed};
}

}  // namespace

void Counters::on_pending(heap::SizeClass size_class, Units size, int sign) {
  Volume& pending = pending_[static_cast<std::size_t>(size_class)];
  pending.bytes += sign * static_cast<std::int64_t>(size.bytes());
  pending.blocks += sign;
}

void Counters::follow_active_peak() {
  const Volume active[2] = {allocated_[0] + pending_[0], allocated_[1] + pending_[1]};
  active_peak_[0].raise_to(active[0]);
  active_peak_[1].raise_to(active[1]);
  active_peak_[2].raise_to(active[0] + active[1]);
}

void Counters::on_reserved(heap::SizeClass size_class, std::int64_t bytes) {
  const int index = kIndex[static_cast<std::size_t>(size_class)];
  for (const int i : {index, static_cast<int>(GAPLESS_ALL)}) {
    if (bytes >= 0)
      reserved[i].add(bytes);
    else
      reserved[i].remove(-bytes);
  }
}

void Counters::on_segment(heap::SizeClass size_class, int sign) {
  for (const int i : {kIndex[static_cast<std::size_t>(size_class)], static_cast<int>(GAPLESS_ALL)}) {
    if (sign > 0)
      segments[i].add(1);
    else
      segments[i].remove(1);
  }
}

void Counters::on_reserved_moved(heap::SizeClass from, heap::SizeClass to, std::int64_t bytes) {
  if (from == to) return;
  reserved[kIndex[static_cast<std::size_t>(from)]].remove(bytes);
  reserved[kIndex[static_cast<std::size_t>(to)]].add(bytes);
}

void Counters::read(gapless_stats& out) const {
  for (std::size_t c = 0; c < 3; c++) {
    const int i = kIndex[c];
    const Volume now = c < 2 ? allocated_[c] : allocated_[0] + allocated_[1];
    auto sum = [c](const Volume(&volumes)[2]) { return c < 2 ? volumes[c] : volumes[0] + volumes[1]; };
    const Volume ever = sum(ever_) - sum(reset_.ever);
    const Volume then = sum(reset_.allocated);
    const Volume active_then = then + sum(reset_.pending);
    Volume peak = peak_before_[c];
    peak.raise_to(peak_[c]);
    const Volume pending = c < 2 ? pending_[c] : pending_[0] + pending_[1];
    const Volume active = now + pending;
    out.allocation[i] = stat(now.blocks, peak.blocks, ever.blocks, then.blocks);
    out.allocated_bytes[i] = stat(now.bytes, peak.bytes, ever.bytes, then.bytes);
    out.requested_bytes[i] = stat(now.requested, peak.requested, ever.requested, then.requested);
    // Without pending blocks active equals allocated, so its peak is the larger of the two that were followed.
    out.active[i] = stat(active.blocks, std::max(peak.blocks, active_peak_[c].blocks), ever.blocks, active_then.blocks);
    out.active_bytes[i] =
        stat(active.bytes, std::max(peak.bytes, active_peak_[c].bytes), ever.bytes, active_then.bytes);
    out.reserved_bytes[i] = stat(reserved[i]);
    out.segment[i] = stat(segments[i]);
  }
  out.oversize_allocations = stat(oversize_allocations);
  out.num_alloc_retries = alloc_retries;
  out.num_ooms = ooms;
  out.num_sync_all_streams = sync_all_streams;
  out.num_device_alloc = creates;
  out.num_device_free = releases;
  out.misses = misses;
  out.hits = allocations() - misses;
  out.reactivations = reactivations;
  out.moves = moves;
  out.lends = lends;
  out.wait_edges = wait_edges;
}

std::uint64_t Counters::restart_step() {
  const std::uint64_t peak = step_peak();
  peak_live_before_reset_ = peak_live();
  for (std::size_t c = 0; c < 3; c++) peak_before_[c].raise_to(peak_[c]);
  for (std::size_t c = 0; c < 2; c++) peak_[c] = allocated_[c];
  peak_[2] = allocated_[0] + allocated_[1];
  return peak;
}

void Counters::reset_peaks() {
  static_cast<void>(restart_step());
  for (Volume& peak : peak_before_) peak = Volume{};
  const Volume active[2] = {allocated_[0] + pending_[0], allocated_[1] + pending_[1]};
  for (std::size_t c = 0; c < 2; c++) {
    active_peak_[c] = active[c];
  }
  active_peak_[2] = active[0] + active[1];
  for (Gauge& gauge : reserved) gauge.peak = gauge.current;
  for (Gauge& gauge : segments) gauge.peak = gauge.current;
  oversize_allocations.peak = oversize_allocations.current;
}

void Counters::reset_accumulated() {
  for (std::size_t c = 0; c < 2; c++) {
    reset_.ever[c] = ever_[c];
    reset_.allocated[c] = allocated_[c];
    reset_.pending[c] = pending_[c];
  }
  for (Gauge& gauge : reserved) gauge.allocated = gauge.freed = 0;
  for (Gauge& gauge : segments) gauge.allocated = gauge.freed = 0;
  oversize_allocations.allocated = oversize_allocations.freed = 0;
  alloc_retries = ooms = sync_all_streams = creates = releases = 0;
}

}  // namespace gapless::engine

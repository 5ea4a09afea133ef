// SPDX-License-Identifier: Apache-2.0
#include "engine/oom.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "driver/failed.hpp"
#include "engine/capturing.hpp"
#include "engine/notify.hpp"
#include "engine/pending.hpp"
#include "engine/places.hpp"
#include "engine/segments.hpp"

namespace gapless::engine {

namespace {

gapless_oom_verdict verdict_of(const DeviceState& state, const gapless_oom_record& record, std::uint64_t idle_pinned,
                               bool capturing) {
  const std::uint64_t need = record.rounded_bytes;
  const std::uint64_t used = record.live_bytes + record.pending_bytes;
  // What would have helped, the nearest cause first.
  if (capturing && record.free_bytes > record.pinned_bytes && record.free_bytes - record.pinned_bytes >= need)
    return GAPLESS_OOM_CAPTURE;
  if (state.limit < record.driver_total_bytes && used + need <= record.reserved_bytes + record.driver_free_bytes)
    return GAPLESS_OOM_LIMIT;
  if (idle_pinned > 0 && record.largest_obtainable_bytes + idle_pinned >= need) return GAPLESS_OOM_PINNED;
  if (record.other_process_bytes > 0 && used + need <= record.driver_total_bytes) return GAPLESS_OOM_OTHER_PROCESS;
  return GAPLESS_OOM_IN_USE;
}

std::string size_text(std::uint64_t bytes) {
  char text[32];
  if (bytes >= kGiB)
    std::snprintf(text, sizeof text, "%.2f GiB", static_cast<double>(bytes) / static_cast<double>(kGiB));
  else
    std::snprintf(text, sizeof text, "%.2f MiB", static_cast<double>(bytes) / static_cast<double>(kMiB));
  return text;
}

}  // namespace

void describe_oom(DeviceState& state, bool capturing, gapless_oom_record& record) {
  driver::MemoryInfo memory;
  if (state.ops.memory_info(state.device, memory) == driver::Result::ok) {
    record.driver_free_bytes = memory.free_bytes;
    record.driver_total_bytes = memory.total_bytes;
  }
  const std::lock_guard guard(state.fast);
  record.live_bytes = state.counters.live_bytes();
  record.pending_bytes = state.counters.pending_bytes();
  record.reserved_bytes = state.physical;
  const std::uint64_t used = record.live_bytes + record.pending_bytes;
  record.free_bytes = state.physical > used ? state.physical - used : 0;
  record.pinned_bytes = state.pinned_slots * state.granule;
  record.limit_bytes = state.limit;
  const std::uint64_t taken = record.driver_total_bytes - std::min(record.driver_total_bytes, record.driver_free_bytes);
  record.other_process_bytes = taken > state.physical ? taken - state.physical : 0;
  const StepMarks& marks = state.marks;
  std::memcpy(record.step_label, marks.step_label, sizeof record.step_label);
  std::memcpy(record.phase_label, marks.phase_label, sizeof record.phase_label);
  record.step = marks.steps;
  record.step_units = marks.units;
  record.allocation_index = static_cast<std::uint64_t>(state.counters.allocations() - marks.first_allocation);
  record.step_peak_bytes = state.counters.step_peak();
  record.last_good_step_peak_bytes = marks.last_good_peak;
  record.verdict = verdict_of(state, record, idle_bytes(state, false).pinned, capturing);
}

std::string oom_text(const gapless_oom_record& record) {
  static const char* const kBecause[] = {"live blocks leave too little",
                                         "the limit leaves too little",
                                         "memory held outside this allocator leaves too little",
                                         "the free memory is pinned where it is",
                                         "a capture forbids what would have helped",
                                         "the failure was asked for"};
  const bool hopeless = record.verdict == GAPLESS_OOM_IN_USE && record.driver_total_bytes > 0 &&
                        record.requested_bytes > record.driver_total_bytes;
  const char* const because = hopeless ? "the device is smaller than that" : kBecause[record.verdict];
  return "out of memory: " + size_text(record.requested_bytes) + " wanted, at most " +
         size_text(record.largest_obtainable_bytes) + " can be had: " + because + " (live " +
         size_text(record.live_bytes) + ", reserved " + size_text(record.reserved_bytes) + ", free on the device " +
         size_text(record.driver_free_bytes) + " of " + size_text(record.driver_total_bytes) + ")";
}

Status wait_for_everything(DeviceState& state) {
  std::vector<stream::StreamState*> unreachable;
  bool captures = false;
  for (const auto& stream : state.streams) {
    std::uint32_t stamp;
    {
      const std::lock_guard guard(state.fast);
      stamp = stream->epoch();
    }
    if (state.order.capturing(*stream))
      captures = true;
    else if (!state.order.host_wait(*stream, stamp))
      unreachable.push_back(stream.get());
  }
  {
    const std::lock_guard guard(state.fast);
    for (const PendingFree& pending : state.pending) captures = captures || !pending.deferred.empty();
    state.counters.sync_all_streams++;
  }
  if (captures) return base::fail(Status::in_capture, "a stream captures: its memory cannot be waited for");
  if (unreachable.empty()) return Status::ok;
  // Other threads' own default streams and streams that are gone can be waited for only together with the whole device,
  // which would break a capture, also of a stream that has no memory here.
  if (anyone_captures(state))
    return base::fail(Status::in_capture, "a stream captures: the device cannot be waited for");
  const driver::Result result = state.order.host_wait_all(unreachable);
  if (result == driver::Result::ok) return Status::ok;
  return driver::failed(state.ops, "cuCtxSynchronize", result);
}

std::uint64_t release_all_empty_segments(DeviceState& state, PrivatePools& pools) {
  std::uint64_t released = 0;
  for (const auto& pool : pools.all())
    if (pool->has_source) released += release_empty_segments(state, *pool);
  return released;
}

ProgressMark progress_mark(DeviceState& state) {
  const std::uint64_t obtainable = obtainable_granules(state, false);
  const std::lock_guard guard(state.fast);
  return ProgressMark{state.counters.live_bytes() + state.counters.pending_bytes(), obtainable};
}

}  // namespace gapless::engine

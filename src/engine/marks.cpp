// SPDX-License-Identifier: Apache-2.0
// The marks of the training loop: where steps and phases begin, and what a step that has ended looked like.
#include <algorithm>
#include <bit>
#include <cstring>
#include <mutex>
#include <vector>

#include "engine/device_allocator.hpp"
#include "engine/places.hpp"

namespace gapless::engine {

namespace {

void copy_label(char (&to)[GAPLESS_LABEL_BYTES], const char* from) {
  std::memset(to, 0, sizeof to);
  if (from != nullptr) std::strncpy(to, from, sizeof to - 1);
}

// What is live between two steps outlives them: parameters, and later the optimizer's state. Their sizes tell what else
// does not grow with the batch. `out` has room for as many as are looked at.
void list_live_sizes(DeviceState& state, std::vector<std::uint32_t>& out) {
  for (const auto& heap : state.heaps)
    for (const heap::Span& span : heap->heap.spans())
      for (heap::BlockId id = span.end > span.first ? heap->heap.head_of(span) : heap::kNoBlock; id != heap::kNoBlock;
           id = state.blocks[id].next) {
        if (out.size() == out.capacity()) return;
        if (state.blocks[id].state == heap::BlockState::live) out.push_back(state.blocks[id].size.count());
      }
}

// Looked at again ever more rarely.
bool census_due(std::uint64_t steps) {
  return std::has_single_bit(steps);
}
constexpr std::size_t kMostSizes = std::size_t{1} << 17;

StepView view_of(const DeviceState& state, const StepMarks& marks) {
  const Journal& journal = *state.journal;
  return StepView{.device = state.device,
                  .label = marks.step_label,
                  .number = marks.steps,
                  .units = marks.units,
                  .live_at_start = marks.live_at_start,
                  .live_now = state.counters.live_bytes(),
                  .peak = state.counters.step_peak(),
                  .failed = marks.failed,
                  .whole = journal.whole(),
                  .entries = journal.entries(),
                  .phases = journal.phases(),
                  .lasting_sizes = state.lasting_sizes,
                  .events = journal.now()};
}

}  // namespace

void DeviceAllocator::mark_step(const char* label, std::uint64_t units) {
  StepReader* const reader = state_.shared.step_reader.load(std::memory_order_acquire);
  // Made before the lock is taken: it allocates.
  std::unique_ptr<Journal> fresh;
  if (reader != nullptr && !has_journal_.exchange(true)) fresh = std::make_unique<Journal>();
  std::vector<std::uint32_t> sizes;
  if (reader != nullptr && census_due(step_start().steps + 1)) sizes.reserve(kMostSizes);
  StepMarks ended;
  StepView view{};
  bool read = false;
  {
    const std::lock_guard guard(state_.fast);
    StepMarks& marks = state_.marks;
    if (state_.journal != nullptr && (state_.attention.load(std::memory_order_relaxed) & kJournal) != 0) {
      ended = marks;
      view = view_of(state_, ended);
      read = state_.journal->restart();
    }
    const std::uint64_t peak = state_.counters.restart_step();
    if (marks.steps > 0 && !marks.failed) marks.last_good_peak = peak;
    copy_label(marks.step_label, label);
    copy_label(marks.phase_label, nullptr);
    marks.steps++;
    if (reader != nullptr && census_due(marks.steps)) list_live_sizes(state_, sizes);
    marks.units = units;
    marks.failed = false;
    marks.first_allocation = state_.counters.allocations();
    marks.live_at_start = state_.counters.live_bytes();
    if (fresh != nullptr) {
      state_.journal = std::move(fresh);
      if (state_.options.learn) state_.raise(kJournal);
    }
  }
  if (!sizes.empty()) {
    std::sort(sizes.begin(), sizes.end());
    sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
    auto list = std::make_shared<const std::vector<std::uint32_t>>(sizes.begin(), sizes.end());
    const std::lock_guard guard(state_.fast);
    state_.lasting_sizes.swap(list);
  }
  if (!read) return;
  reader->on_step(view);
  const std::lock_guard guard(state_.fast);
  state_.journal->done_reading();
}

void DeviceAllocator::mark_phase(const char* label) {
  const std::lock_guard guard(state_.fast);
  copy_label(state_.marks.phase_label, label);
  if (state_.journal != nullptr) state_.journal->on_phase(state_.marks.phase_label);
}

Status DeviceAllocator::look_at_step(const std::function<void(const StepView&)>& look) {
  StepMarks marks;
  StepView view{};
  std::vector<JournalEntry> entries;
  std::vector<PhaseMark> phases;
  {
    const std::lock_guard guard(state_.fast);
    marks = state_.marks;
    if (state_.journal == nullptr || marks.steps == 0) return base::fail(Status::not_found, "no step was marked");
    view = view_of(state_, marks);
    entries.assign(view.entries.begin(), view.entries.end());
    phases.assign(view.phases.begin(), view.phases.end());
  }
  view.entries = entries;
  view.phases = phases;
  look(view);
  return Status::ok;
}

StepStart DeviceAllocator::step_start() {
  const std::lock_guard guard(state_.fast);
  StepStart start{};
  std::memcpy(start.label, state_.marks.step_label, sizeof start.label);
  start.steps = state_.marks.steps;
  start.live_bytes = state_.marks.live_at_start;
  return start;
}

std::uint64_t DeviceAllocator::live_capacity() {
  const std::lock_guard map(state_.map);
  const std::uint64_t obtainable = obtainable_granules(state_, false) * state_.granule;
  const std::lock_guard guard(state_.fast);
  return state_.counters.live_bytes() + state_.counters.pending_bytes() + obtainable;
}

}  // namespace gapless::engine

// SPDX-License-Identifier: Apache-2.0
// The marks of the training loop: where steps and phases begin, and what a step that has ended looked like.
#include <algorithm>
#include <bit>
#include <cstring>
#include <mutex>
#include <new>
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
// does not grow with the batch. `out` has room for as many as are looked at: the census holds the fast lock, so it ends
// there, and what it has not seen counts as growing.
void list_live_sizes(DeviceState& state, std::vector<std::uint32_t>& out) {
  std::size_t left = out.capacity();
  for (const auto& heap : state.heaps)
    for (const heap::Span& span : heap->heap.spans())
      for (heap::BlockId id = span.end > span.first ? heap->heap.head_of(span) : heap::kNoBlock; id != heap::kNoBlock;
           id = state.blocks[id].next) {
        if (left-- == 0) return;
        if (state.blocks[id].state == heap::BlockState::live) out.push_back(state.blocks[id].size.count());
      }
}

// Looked at again ever more rarely.
bool census_due(std::uint64_t steps) {
  return std::has_single_bit(steps);
}
constexpr std::size_t kMostLookedAt = std::size_t{1} << 17;  // blocks, free ones too

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
                  .events = journal.now(),
                  .resident_threads = state.info.resident_threads};
}

// The reader is done with the journal's other half, whatever became of its reading.
class Reading {
 public:
  explicit Reading(DeviceState& state) : state_(state) {}
  ~Reading() {
    const std::lock_guard guard(state_.fast);
    state_.journal->done_reading();
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  DeviceState& state_;
};

}  // namespace

// What a mark needs for learning and has to allocate, so before the lock is taken. Nothing is made where the host has
// no memory for it: the mark counts all the same, and the next one tries again.
DeviceAllocator::MarkRoom DeviceAllocator::make_mark_room() {
  MarkRoom room;
  bool make = false;
  bool census = false;
  {
    const std::lock_guard guard(state_.fast);
    if (!state_.options.learn) return room;
    make = state_.journal == nullptr;
    census = census_due(state_.marks.steps + 1);
  }
  try {
    if (make) room.journal = std::make_unique<Journal>();
    if (census) room.sizes.reserve(kMostLookedAt);
  } catch (const std::bad_alloc&) {
  }
  return room;
}

void DeviceAllocator::mark_step(const char* label, std::uint64_t units) {
  StepReader* const reader = state_.shared.step_reader.load(std::memory_order_acquire);
  MarkRoom room;
  if (reader != nullptr) room = make_mark_room();
  StepMarks ended;
  StepView view{};
  std::span<const std::uint32_t> offsets;
  bool read = false;
  {
    const std::lock_guard guard(state_.fast);
    StepMarks& marks = state_.marks;
    if (state_.journal != nullptr && (state_.attention.load(std::memory_order_relaxed) & kJournal) != 0) {
      ended = marks;
      view = view_of(state_, ended);
      offsets = state_.journal->offsets();
      read = state_.journal->restart();
    }
    const std::uint64_t peak = state_.counters.restart_step();
    // A step without an allocation is a mark that the next one corrects: it has no peak of its own.
    const bool empty = state_.counters.allocations() == marks.first_allocation;
    if (marks.steps > 0 && !marks.failed && !empty) marks.last_good_peak = peak;
    copy_label(marks.step_label, label);
    copy_label(marks.phase_label, nullptr);
    marks.steps++;
    list_live_sizes(state_, room.sizes);
    marks.units = units;
    marks.failed = false;
    marks.first_allocation = state_.counters.allocations();
    marks.live_at_start = state_.counters.live_bytes();
    if (room.journal != nullptr && state_.journal == nullptr && state_.options.learn) {
      state_.journal = std::move(room.journal);
      state_.raise(kJournal);
    }
  }
  // A host without memory to learn with is no reason for a mark to fail.
  try {
    if (!room.sizes.empty()) keep_lasting_sizes(room.sizes);
  } catch (const std::bad_alloc&) {
  }
  if (!read) return;
  const Reading reading(state_);
  try {
    reader->on_step(view);
  } catch (const std::bad_alloc&) {
  }
  try {
    const KeptAddresses::Share share = kept_addresses_.step_ended(view.label, view.entries, offsets);
    {
      const std::lock_guard guard(state_.fast);
      state_.counters.repeated += share.of;
      state_.counters.kept += share.kept;
    }
  } catch (const std::bad_alloc&) {
  }
}

void DeviceAllocator::keep_lasting_sizes(std::vector<std::uint32_t>& sizes) {
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  auto list = std::make_shared<const std::vector<std::uint32_t>>(sizes.begin(), sizes.end());
  const std::lock_guard guard(state_.fast);
  state_.lasting_sizes.swap(list);
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
  // Room for all that a journal holds, so that the copy allocates nothing under the lock. Untouched pages cost nothing.
  entries.reserve(Journal::kMostEntries);
  phases.reserve(Journal::kMostPhases);
  {
    const std::lock_guard guard(state_.fast);
    marks = state_.marks;
    if ((state_.attention.load(std::memory_order_relaxed) & kJournal) == 0 || marks.steps == 0)
      return base::fail(Status::not_found, "no step was marked, or learning is off");
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

// SPDX-License-Identifier: Apache-2.0
// What the engine tells the rungs above it: they implement these interfaces, the engine knows nothing of them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/journal.hpp"
#include "gapless/gapless.h"

namespace gapless::engine {

// Sees events in the order of each thread's calls. Called with no lock of the engine held, so it may call back.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual bool wants(gapless_event_kind kind) const = 0;
  // For GAPLESS_EVENT_ALLOC a result other than 0 becomes the block's cookie.
  virtual std::uint64_t on_event(const gapless_event& event) = 0;
  virtual void release_cookie(std::uint64_t cookie) = 0;
};

// Asked when a request cannot be met, with no lock held.
class OomHook {
 public:
  virtual ~OomHook() = default;
  // May add what the engine does not know (the suggestion) before anybody sees the record.
  virtual void complete(gapless_oom_record& record) = 0;
  virtual gapless_oom_answer ask(const gapless_oom_record& record) = 0;
};

// A step of the training loop, over or under way.
struct StepView {
  int device;
  const char* label;  // of its mark
  std::uint64_t number;
  std::uint64_t units;  // size of its batch, as the mark said; 0: unknown
  std::uint64_t live_at_start;
  std::uint64_t live_now;
  std::uint64_t peak;  // of live bytes
  bool failed;         // an OOM fell into it
  bool whole;          // the journal has all of it
  std::span<const JournalEntry> entries;
  std::span<const PhaseMark> phases;
  // Sizes, in units of 512 bytes, of blocks that live longer than steps: ascending, each once. May be null.
  std::shared_ptr<const std::vector<std::uint32_t>> lasting_sizes;
  std::uint32_t events;
  std::uint64_t resident_threads;  // that the device runs at once; 0: the driver does not say
};

// Reads the journal of each step that has ended. Called with no lock held.
class StepReader {
 public:
  virtual ~StepReader() = default;
  virtual void on_step(const StepView& step) = 0;
};

}  // namespace gapless::engine

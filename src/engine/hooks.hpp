// SPDX-License-Identifier: Apache-2.0
// What the engine tells the rungs above it: they implement these interfaces, the engine knows nothing of them.
#pragma once

#include <cstdint>

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

// One line of the journal: what learning and history read. 16 bytes.
struct JournalEntry {
  enum Kind : std::uint8_t { alloc, free, step, phase };
  JournalEntry(Kind kind, std::uint64_t value, std::uint32_t units_, std::uint64_t slack_)
      : kind_and_value(std::uint64_t{kind} << 56 | value), units(units_), slack(static_cast<std::uint32_t>(slack_)) {}

  std::uint64_t kind_and_value;  // the kind in the top byte; below it the address, or the number of the step
  std::uint32_t units;           // block size
  std::uint32_t slack;           // block size - requested, in bytes
};
static_assert(sizeof(JournalEntry) == 16);

// Called under the fast lock: it appends to a preallocated ring and does nothing else.
class Journal {
 public:
  virtual ~Journal() = default;
  virtual void append(const JournalEntry& entry) = 0;
};

}  // namespace gapless::engine

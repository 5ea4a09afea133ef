// SPDX-License-Identifier: Apache-2.0
// The journal: every allocation of the step under way, from its birth to its death, in 20 bytes: a line of 16
// and its offset apart. It is preallocated, so that the hit path appends and does nothing else. Under the fast lock.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "base/compiler.hpp"
#include "gapless/gapless.h"
#include "heap/block.hpp"

namespace gapless::engine {

// Times count the events of a step: its allocations and frees.
struct JournalEntry {
  static constexpr std::uint32_t kOlder = ~std::uint32_t{0};  // as birth: the block is older than the step
  static constexpr std::uint32_t kAlive = ~std::uint32_t{0};  // as death: not freed yet

  std::uint32_t units;  // size of the block
  std::uint32_t birth;
  std::uint32_t death;
  std::uint32_t owner;  // the block's record in the low 24 bits, the number of its stream above

  std::uint32_t stream() const { return owner >> 24; }
};
static_assert(sizeof(JournalEntry) == 16);

// A phase lasts until the next one begins.
struct PhaseMark {
  std::uint32_t time;
  char label[GAPLESS_LABEL_BYTES];
};

class Journal {
 public:
  // Steps with more lines than this are counted, but not learnt from.
  static constexpr std::uint32_t kMostEntries = 1u << 18;
  static constexpr std::uint32_t kMostPhases = 256;

  GAPLESS_FAST void on_alloc(heap::BlockPool& blocks, heap::BlockId id, Units size, std::uint32_t stream) {
    const std::uint32_t now = clock_++;
    if (count_ == kMostEntries) [[unlikely]]
      return spoil();
    blocks.note(id).journal = count_;
    offsets_[count_] = blocks[id].offset.count();
    entries_[count_++] = JournalEntry{size.count(), now, JournalEntry::kAlive, owner_of(id, stream)};
  }
  GAPLESS_FAST void on_free(const heap::BlockPool& blocks, heap::BlockId id, Units size, std::uint32_t stream) {
    const std::uint32_t now = clock_++;
    const std::uint32_t owner = owner_of(id, stream);
    // The line of a block of an earlier step names another block's, or one that is dead.
    const std::uint32_t at = blocks.note(id).journal;
    if (at < count_ && entries_[at].owner == owner && entries_[at].death == JournalEntry::kAlive) [[likely]] {
      entries_[at].death = now;
      return;
    }
    if (count_ == kMostEntries) [[unlikely]]
      return spoil();
    entries_[count_++] = JournalEntry{size.count(), JournalEntry::kOlder, now, owner};
  }
  void on_phase(const char (&label)[GAPLESS_LABEL_BYTES]) {
    if (phase_count_ == kMostPhases) return;
    phases_[phase_count_].time = clock_;
    std::memcpy(phases_[phase_count_++].label, label, sizeof label);
  }

  std::span<const JournalEntry> entries() const { return {entries_, count_}; }
  // In units, of the blocks of entries() in their heaps; of those that are older than the step nothing is said.
  std::span<const std::uint32_t> offsets() const { return {offsets_, count_}; }
  std::span<const PhaseMark> phases() const { return {phases_, phase_count_}; }
  std::uint32_t now() const { return clock_; }
  bool whole() const { return !lost_; }
  // Something of this step was not written down.
  GAPLESS_SLOW void spoil() { lost_ = true; }

  // A new step. What was written stays readable, where it is, until done_reading(); while somebody reads, it is dropped
  // instead, and false returned.
  bool restart() {
    const bool kept = !reading_;
    if (kept) {
      reading_ = true;
      side_ ^= 1;
      entries_ = buffer_[side_].get();
      offsets_ = offset_buffer_[side_].get();
      phases_ = phase_buffer_[side_].get();
    }
    count_ = phase_count_ = clock_ = 0;
    lost_ = false;
    return kept;
  }
  void done_reading() { reading_ = false; }

 private:
  static constexpr std::uint32_t kBlockMask = (1u << 24) - 1;
  static std::uint32_t owner_of(heap::BlockId id, std::uint32_t stream) { return (id & kBlockMask) | stream << 24; }

  // Two, so that a finished step is read while the next one is written. Not initialised: pages are touched as needed.
  std::unique_ptr<JournalEntry[]> buffer_[2] = {std::make_unique_for_overwrite<JournalEntry[]>(kMostEntries),
                                                std::make_unique_for_overwrite<JournalEntry[]>(kMostEntries)};
  std::unique_ptr<std::uint32_t[]> offset_buffer_[2] = {std::make_unique_for_overwrite<std::uint32_t[]>(kMostEntries),
                                                        std::make_unique_for_overwrite<std::uint32_t[]>(kMostEntries)};
  std::unique_ptr<PhaseMark[]> phase_buffer_[2] = {std::make_unique_for_overwrite<PhaseMark[]>(kMostPhases),
                                                   std::make_unique_for_overwrite<PhaseMark[]>(kMostPhases)};
  JournalEntry* entries_ = buffer_[0].get();
  std::uint32_t* offsets_ = offset_buffer_[0].get();
  PhaseMark* phases_ = phase_buffer_[0].get();
  std::uint32_t count_ = 0;
  std::uint32_t phase_count_ = 0;
  std::uint32_t clock_ = 0;
  int side_ = 0;
  bool lost_ = false;
  bool reading_ = false;
};

}  // namespace gapless::engine

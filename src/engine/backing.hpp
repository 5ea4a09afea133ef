// SPDX-License-Identifier: Apache-2.0
// A miss: finding physical memory for the slots under one block.
//
// In this order, for each slot without a handle: its own dormant mapping, where that handle is idle (no driver call);
// else a loose handle; else a new one while physical memory stays within the slack; else an idle handle of the same
// stream, then of another; else a new one up to the limit. What is taken is put back if any of it fails.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/device_state.hpp"
#include "vmm/transaction.hpp"

namespace gapless::engine {

enum class Backed { yes, no_memory, failed };  // failed: a driver error, see base::last_error

// Physical bytes that each source made available, in the order of gapless_oom_record::freed_by_rung.
enum Rung : std::size_t { kReactivated, kLoose, kCreated, kSameStream, kOtherStreams, kOverSlack, kWaited, kHook };
using RungBytes = std::array<std::uint64_t, GAPLESS_OOM_RUNGS>;

class Backing {
 public:
  explicit Backing(DeviceState& state) : state_(state), transaction_(state.ledger, state.ops, state.granule) {}

  // Makes every slot under [offset, offset + size) of `heap` backed, for work on `user`. Some block that is not free
  // lies there. `met`: how often this miss was met before, and the wrong granules were taken for it. Under the map
  // lock.
  Backed back(BackedHeap& heap, Units offset, Units size, stream::StreamState& user, bool capturing, unsigned met);

  // Is the handle of an active slot idle (I4)? Under map and fast lock.
  bool idle(vmm::HandleId id, BackedHeap*& heap, std::uint32_t& stamp);

  RungBytes rungs{};

  // Would all of it come back by reactivation alone? Under map and fast lock.
  bool free_of_cost(BackedHeap& heap, Units offset, Units size);

 private:
  struct Edge {
    stream::StreamState* stream;
    std::uint32_t stamp;
  };
  struct Victim {
    std::uint64_t rank;
    BackedHeap* heap;
    Units size;
    std::uint32_t first, last;  // slots
    std::uint32_t stamp;
    std::uint32_t listed;  // how many were before it: equals stay in that order
  };
  // Slots behind the block that a miss maps as well: reach_ahead().
  static constexpr std::uint32_t kMostAhead = 16;  // 8 save nearly as much, and beyond 32 hardly more is saved
  // Meetings of a miss in which two orders of its victims take turns. With 4 or 12 fewer loops come to rest after all
  // (docs/adr/0006).
  static constexpr unsigned kTurns = 8;

  Backed attempt(BackedHeap& heap, Units offset, Units size, bool only_complete, bool& retry);
  void begin(const BackedHeap& heap, Units offset, Units size);
  void plan_slots(BackedHeap& heap, Units offset, Units size, bool only_complete);
  Backed supply(BackedHeap& heap, Units offset, Units size, bool only_complete);
  bool hopeless(std::uint64_t creations, bool only_complete);
  void take_ready();
  void create(std::uint64_t bound, Rung rung);
  void steal(BackedHeap& heap, bool others, bool only_complete);
  void order_victims(bool others);
  bool list_victims(const BackedHeap& heap, bool others, bool only_complete);
  bool add_victims(BackedHeap& heap, bool only_complete);
  void reach_ahead(BackedHeap& heap, Units offset, Units size);
  bool mine(const BackedHeap& candidate, const BackedHeap& heap) const;
  bool usable(const BackedHeap& owner, std::uint32_t slot, std::uint32_t stamp, bool only_complete);
  void need_edges(const BackedHeap& owner, std::uint32_t slot, std::uint32_t stamp);
  static void add_edge(std::vector<Edge>& edges, stream::StreamState& stream, std::uint32_t stamp);
  bool connect();
  bool wait_for_conflicts();
  void undo(const BackedHeap& heap);
  void commit(BackedHeap& heap, Units offset, bool missed);
  void collect_segments(const BackedHeap& heap);
  void note_segments(const BackedHeap& heap);
  void touch_neighbours(BackedHeap& heap, Units offset);
  void start_slots(BackedHeap& heap, Units offset);
  void unmap_left();
  void record_left();

  DeviceState& state_;
  vmm::Transaction transaction_;  // the present or last one: what it was made of is used again
  stream::StreamState* user_ = nullptr;
  unsigned met_ = 0;
  // Filled under the fast lock, with room that was made before it was taken.
  std::vector<Edge> edges_;      // what the user comes after
  std::vector<Edge> conflicts_;  // what must be over before mappings go
  std::vector<Victim> victims_;
  std::vector<std::uint64_t> backed_;  // addresses of granules, ascending; only while somebody listens
  bool fresh_use_ = false;             // some handle's last use is not known to be over
  bool driver_full_ = false;
  driver::Result create_error_ = driver::Result::ok;
  // The free block in which the last handle was found idle: neighbours mostly lie in the same.
  struct {
    BackedHeap* heap = nullptr;
    std::uint32_t first = 0, last = 0, stamp = 0;
  } last_idle_;
};

}  // namespace gapless::engine

// SPDX-License-Identifier: Apache-2.0
// Everything one device's allocator knows, and which lock guards it. The parts of the engine are functions over it.
//
// Two locks. The fast lock guards blocks, bins, ok bits, pending frees and counters; it is never held across a driver
// call or a callback. The map lock serialises misses; it guards the ledger, the streams' events, heaps coming and
// going, and may be held across driver calls. Order: map, then fast.
#pragma once

#include <array>
#include <atomic>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/lock.hpp"
#include "base/status.hpp"
#include "config/options.hpp"
#include "driver/driver.hpp"
#include "engine/backed_heap.hpp"
#include "engine/counters.hpp"
#include "engine/creator.hpp"
#include "engine/handle_kind.hpp"
#include "engine/hooks.hpp"
#include "engine/injector.hpp"
#include "engine/step_marks.hpp"
#include "engine/stream_group.hpp"
#include "policy/traffic.hpp"
#include "stream/event_pool.hpp"
#include "stream/stream_order.hpp"
#include "vmm/ledger.hpp"

namespace gapless::engine {

class DeviceAllocator;

// Why the next call must look further than the hit path. One word, so that the hit path pays one predicted branch for
// all.
enum Attention : std::uint32_t {
  kPendingFrees = 1,  // blocks wait for streams
  kScopes = 2,        // allocations may be routed to a private pool
  kListening = 4,     // a listener is set
  kJournal = 8,       // every allocation and free is written down
  kRounding = 16,     // sizes are not simply rounded to 512 B
  kForked = 32,       // a child process: the driver may not be called
  kInjecting = 64,    // some request is to fail
};

// What all devices share.
struct Shared {
  driver::DriverOps* ops = nullptr;
  vmm::AddressMap* addresses = nullptr;
  std::atomic<Listener*> listener{nullptr};
  std::atomic<OomHook*> oom_hook{nullptr};
  std::atomic<StepReader*> step_reader{nullptr};
  std::atomic<int> delivering{0};  // threads that are calling the listener
};

// A stream that uses a block besides the one it was allocated for.
struct Use {
  stream::StreamKey stream;
  driver::Event event = nullptr;  // recorded already, when the program said that it would destroy the stream
};

// A freed block whose memory other streams may still use.
struct PendingFree {
  std::uint64_t id = 0;
  BackedHeap* heap = nullptr;
  heap::BlockId block = heap::kNoBlock;
  std::vector<driver::Event> events;  // all must be complete
  std::vector<Use> deferred;          // captured when it was freed: to be recorded when that has ended
  bool needs_device = false;          // a stream was gone: only a synchronisation of the device tells
};

// A call to a pool's segment source that waits until no lock is held. No segment: the pool is gone.
struct Farewell {
  gapless_segment_source source;
  void* segment;
  std::size_t bytes;
};

// Shows that a process was given the handle of a shared block.
using ShareKey = std::array<std::uint8_t, 16>;

// A block that another process may map, and the slots that are pinned for it: exports.hpp.
struct Export {
  std::uint64_t id;
  ShareKey key;
  BackedHeap* heap;
  Units offset;
  Units size;
  std::uint32_t first;
  std::uint32_t last;
};

struct DeviceState {
  DeviceState(DeviceAllocator& owner, Shared& all, int ordinal, const driver::DeviceInfo& about,
              const config::Options& set)
      : self(owner),
        shared(all),
        ops(*all.ops),
        device(ordinal),
        info(about),
        granule(set.granule > about.granularity ? set.granule : about.granularity),
        handles(handle_properties(about)),
        options(set),
        access_devices{ordinal},
        events(ops, ordinal),
        order(ops, ordinal, fast, events) {}

  // ---- fixed
  DeviceAllocator& self;
  Shared& shared;
  driver::DriverOps& ops;
  const int device;
  const driver::DeviceInfo info;
  const std::uint64_t granule;
  const driver::HandleProperties handles;  // of every handle
  unsigned slot_shift() const { return static_cast<unsigned>(__builtin_ctzll(granule)) - kUnitShift; }

  // ---- fast lock
  base::FastLock fast;
  std::atomic<std::uint32_t> attention{0};
  StreamHome no_home;                // so that the hit path's first guess is never null
  StreamHome* last_home = &no_home;  // most programs allocate on one stream most of the time
  std::vector<StreamHome*> home_table;
  heap::BlockPool blocks;
  Counters counters;
  // Moved from list to list without asking the host for memory: a free must not fail.
  std::list<PendingFree> pending;
  std::list<PendingFree> pending_room;  // one for each block that has uses
  std::uint64_t pending_ids = 0;

  bool polling = false;                // one thread asks the driver about pending frees
  std::vector<std::vector<Use>> uses;  // streams recorded on blocks, by BlockNote::uses
  std::vector<std::uint32_t> unused_uses;
  std::uint64_t event_sequence = 0;
  std::uint64_t physical = 0;  // bytes of handles that exist, and of segments
  std::uint64_t pinned_slots = 0;
  std::unique_ptr<Journal> journal;  // made at the first mark of a step, and kept
  Injector injector;
  std::shared_ptr<const std::vector<std::uint32_t>> lasting_sizes;  // of blocks: StepView
  StepMarks marks;

  // ---- map lock
  base::MapLock map;
  config::Options options;
  std::vector<int> access_devices;
  stream::EventPool events;
  stream::StreamOrder order;
  vmm::Ledger ledger;
  std::vector<BackedHeap*> heap_of_space;
  std::vector<std::unique_ptr<BackedHeap>> heaps;  // those in use, and those being kept for reuse
  std::vector<BackedHeap*> spare[2];               // empty and without an owner, by class
  std::vector<std::unique_ptr<StreamHome>> homes;
  std::vector<std::unique_ptr<stream::StreamState>> streams;
  std::vector<std::uint32_t> unused_stream_ids;
  std::uint32_t stream_ids = 0;
  bool any_orphans = false;
  bool sharing = false;  // new large blocks of the default pool go into the group's heap
  StreamGroup group;     // its tables change under map and fast lock
  policy::Traffic traffic;
  policy::SharingSwitch sharing_switch;
  std::atomic<std::uint64_t> reserved_addresses{0};  // statistics read it without the lock
  Creator creator{*this};
  std::uint64_t misses_begun = 0;
  std::uint64_t limit = ~std::uint64_t{0};
  std::vector<Farewell> farewells;
  std::vector<Export> exports;        // in the order of their ids
  std::size_t exports_looked_at = 0;  // when they were last searched for dead ones
  std::uint64_t export_ids = 0;

  void raise(Attention bit) { attention.fetch_or(bit, std::memory_order_relaxed); }
  void lower(Attention bit) { attention.fetch_and(~static_cast<std::uint32_t>(bit), std::memory_order_relaxed); }
};

// While gapless calls the driver, a capture elsewhere in the process must not be invalidated by it.
class RelaxedCapture {
 public:
  explicit RelaxedCapture(driver::DriverOps& ops) : ops_(ops) {
    changed_ = ops_.exchange_capture_mode(mode_) == driver::Result::ok;
  }
  ~RelaxedCapture() {
    if (changed_) static_cast<void>(ops_.exchange_capture_mode(mode_));
  }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  driver::DriverOps& ops_;
  int mode_ = 2;  // CU_STREAM_CAPTURE_MODE_RELAXED; then the one that was there
  bool changed_ = false;
};

}  // namespace gapless::engine

// SPDX-License-Identifier: Apache-2.0
// When is freed memory really idle? Each stream counts epochs: a block that is freed carries the current epoch of its
// heap's stream as its stamp, and recording an event closes the epoch. Everything stamped up to a closed epoch is over
// when its event is complete; another stream may use it once it waits for that event. So the hit path pays one load,
// and events are recorded only where memory changes hands.
//
// All functions under the map lock. They call the driver, so never under the fast lock, which they take to close an
// epoch.
#pragma once

#include <atomic>
#include <cstdint>

#include <vector>

#include "base/lock.hpp"
#include "driver/driver.hpp"
#include "stream/event_pool.hpp"
#include "stream/stream_key.hpp"

namespace gapless::stream {

// Does the stream of this handle capture? One that the driver does not know does not. The legacy default stream counts
// as if it did while a stream that synchronises with it captures: what is enqueued or recorded on it breaks that
// capture.
bool captures(driver::DriverOps& ops, int device, driver::Stream stream);

class StreamState {
 public:
  StreamState(StreamKey key, std::uint32_t id) : key_(key), id_(id) {}
  const StreamKey& key() const { return key_; }
  driver::Stream handle() const { return key_.handle; }
  std::uint32_t id() const { return id_; }
  // The stamp of what is freed now. Under the fast lock.
  std::uint32_t epoch() const { return epoch_; }
  // Under the map or the fast lock.
  bool finished() const { return finished_; }

 private:
  friend class StreamOrder;
  friend struct StreamTestAccess;
  struct Closed {
    driver::Event event;
    std::uint32_t epoch;
  };
  const StreamKey key_;
  const std::uint32_t id_;
  std::uint32_t epoch_ = 1;            // written under map and fast lock
  std::uint32_t complete_ = 0;         // known complete up to here
  std::vector<Closed> closed_;         // ascending, not known complete
  std::vector<std::uint32_t> waited_;  // [s]: this stream already waits for stream s up to that epoch
  bool gone_ = false;                  // the driver knows the stream no more
  // The program said so: its epoch is closed for good, its handle is not touched again. Written under map and fast
  // lock.
  bool finished_ = false;
};

// Written under the map lock, read by statistics without it.
struct OrderCounts {
  std::atomic<std::int64_t> records = 0;
  std::atomic<std::int64_t> queries = 0;
  std::atomic<std::int64_t> wait_edges = 0;
  std::atomic<std::int64_t> host_waits = 0;
};

class StreamOrder {
 public:
  StreamOrder(driver::DriverOps& ops, int device, base::FastLock& fast, EventPool& events)
      : ops_(ops), device_(device), fast_(fast), events_(events) {}

  // Is everything stamped up to `stamp` known to be over?
  static bool known_complete(const StreamState& stream, std::uint32_t stamp) { return stamp <= stream.complete_; }
  // Work that is enqueued on `waiter` from now on comes after everything on `stream` stamped up to this.
  static std::uint32_t ordered_up_to(const StreamState& waiter, const StreamState& stream) {
    const std::uint32_t waited = stream.id_ < waiter.waited_.size() ? waiter.waited_[stream.id_] : 0;
    return waited > stream.complete_ ? waited : stream.complete_;
  }
  // Has an event been recorded after it?
  static bool is_closed(const StreamState& stream, std::uint32_t stamp) {
    return stamp <= stream.complete_ || (!stream.closed_.empty() && stamp <= stream.closed_.back().epoch);
  }
  // Asks the driver about recorded events, oldest first; never records, never waits.
  void poll(StreamState& stream);
  // Closes the epoch if `stamp` lies in it, so that a later poll can tell. False: the stream cannot be recorded now.
  bool close(StreamState& stream, std::uint32_t stamp);
  // Work that is enqueued on `waiter` from now on comes after everything stamped up to `stamp` on `stream`. False: not
  // possible now (either one captures, is gone, or is another thread's default stream); nothing changed.
  bool order_after(StreamState& waiter, StreamState& stream, std::uint32_t stamp);
  // The host waits. False: not possible now.
  bool host_wait(StreamState& stream, std::uint32_t stamp);
  // Everything enqueued on the device so far is over: `streams` learn it. The driver refuses while a stream captures.
  driver::Result host_wait_all(const std::vector<StreamState*>& streams);

  // As captures(); a stream that this thread cannot ask for, or that is gone, does not.
  bool capturing(const StreamState& stream);
  // May this thread enqueue on it or record it at all?
  bool reachable(const StreamState& stream) const;

  // The program will destroy it: closes its epoch for good. All that is freed later was enqueued before. False: not
  // possible now.
  bool finish(StreamState& stream);
  // Its id will name another stream.
  static void unlearn(StreamState& waiter, std::uint32_t id);

  // Gives its events back; it must not be used afterwards.
  void forget(StreamState& stream);

  // Epochs are 32 bits: a process that exchanges memory a thousand times a second uses half of them up in 25 days. From
  // then on the caller numbers anew (engine/renumber.hpp), when it next finds nobody capturing.
  static constexpr std::uint32_t kRenumberAt = std::uint32_t{1} << 31;
  bool worn() const { return worn_; }
  // What a stamp of `stream` becomes.
  static std::uint32_t renumbered(const StreamState& stream, std::uint32_t stamp) {
    return known_complete(stream, stamp) ? 0 : 1;
  }
  // Epochs start again. All that is not complete lies in the present one (host_wait_all), and every stamp becomes what
  // renumbered() says, under the same hold of the fast lock.
  void restart(const std::vector<StreamState*>& streams);

  const OrderCounts& counts() const { return counts_; }
  void count_wait_edge() { counts_.wait_edges++; }
  void count_host_wait() { counts_.host_waits++; }

 private:
  const StreamState::Closed* covering(const StreamState& stream, std::uint32_t stamp) const;
  void retire(StreamState& stream, std::uint32_t epoch);

  // An event for each of the last moments at which memory changed hands; beyond that newer stamps share one.
  static constexpr std::size_t kLargestRing = 64;

  driver::DriverOps& ops_;
  const int device_;
  base::FastLock& fast_;
  EventPool& events_;
  OrderCounts counts_;
  bool worn_ = false;
};

}  // namespace gapless::stream

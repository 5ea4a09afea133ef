// SPDX-License-Identifier: Apache-2.0
// Streams as queues, and the decision when queued work completes. Knows nothing of memory, events or capture: an
// operation is a position in a stream, positions that it waits for, and perhaps a body.
//
// Invariants (SCHED): done <= issued; an operation completes after every operation before it in its stream and after
// every position that it waits for; waits only point at operations submitted earlier, so there is no cycle.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "driver/sim/clock.hpp"
#include "driver/sim/common.hpp"
#include "driver/sim/types.hpp"

namespace gapless::driver::sim {

struct Position {
  std::uint32_t stream = 0;
  std::uint64_t position = 0;
};

struct StreamState {
  std::uint32_t id = 0;
  int device = 0;
  StreamFlags flags;
  bool legacy = false;
  bool alive = true;
  std::uint64_t issued = 0;   // operations submitted
  std::uint64_t done = 0;     // of these, complete
  std::uint32_t capture = 0;  // index + 1 of the capture that it takes part in
  Clock clock;                // strict: what is ordered before its next operation

  struct Pending {
    std::vector<Position> waits;
    Body body;
    bool host_function = false;
  };
  std::deque<Pending> queue;  // operations done + 1 to issued
  unsigned polls = 0;         // queries that found it pending, one after the other
  bool running = false;       // a thread is inside a host function of this stream, outside the lock
};

class Scheduler {
 public:
  explicit Scheduler(Common& common) : common_(common), random_(common.config.seed) {}

  // `known`: what all host threads know to be complete (strict); null where that is not known of all of them.
  std::uint32_t add_stream(int device, StreamFlags flags, bool legacy, const Clock* known);
  void retire_stream(std::uint32_t id);
  StreamState& stream(std::uint32_t id) { return *streams_[id]; }
  std::uint32_t stream_count() const { return static_cast<std::uint32_t>(streams_.size()); }

  // Work without a body completes at once and nothing can be pending: nothing needs to be queued or waited for.
  bool immediate() const { return immediate_; }

  // Appends an operation and returns its position. Does not complete anything: tick() does.
  std::uint64_t submit(StreamState& stream, StreamState::Pending operation);
  std::uint64_t submit(StreamState& stream);  // without a body and without waits
  bool complete(Position at) const { return streams_[at.stream]->done >= at.position; }

  // What the schedule completes of its own accord at a call.
  void tick(Lock& lock) {
    if (pending_ != 0) tick_pending(lock);
  }
  // Completes `at` and what it depends on.
  void finish(Lock& lock, Position at);
  void finish_device(Lock& lock, int device);
  std::uint64_t step(Lock& lock, StreamState& stream, std::uint64_t operations);
  void advance(StreamState& legacy, std::uint64_t operations);

 private:
  struct Queued {
    Position at;
    std::uint64_t operation = 0;
  };

  bool take_retired(const Clock* known, std::uint32_t& id);
  void tick_pending(Lock& lock);
  void tick_random(Lock& lock);
  // With `block` false it stops where another thread is inside a host function that it would have to wait for.
  bool run_up_to(Lock& lock, Position at, bool block);
  bool ready(const StreamState& stream) const;
  void run_front(Lock& lock, StreamState& stream);
  std::uint64_t draw();

  Common& common_;
  std::vector<std::unique_ptr<StreamState>> streams_;
  std::deque<std::uint32_t> retired_;  // whose ids are to be given out again
  std::uint64_t pending_ = 0;
  std::deque<Queued> by_age_;  // Completion::lag: all queued operations in the order of submission
  std::uint64_t random_;
  std::condition_variable host_function_done_;
  bool immediate_ = common_.config.completion == Completion::eager ||
                    (common_.config.completion == Completion::lag && common_.config.lag == 0);
};

}  // namespace gapless::driver::sim

// SPDX-License-Identifier: Apache-2.0
#include "driver/sim/scheduler.hpp"

#include <algorithm>
#include <utility>

#include "driver/sim/host_threads.hpp"

namespace gapless::driver::sim {

// A stream's id is its component of every clock, and its positions go on when the id is given out again: the new
// stream's work looks ordered after the old one's. Strict mode therefore waits until it is: when every host thread
// knows the old work to be complete, all that is submitted from then on follows it.
bool Scheduler::take_retired(const Clock* known, std::uint32_t& id) {
  constexpr std::size_t kLooks = 8;  // at a call; the rest have their turn at later ones
  for (std::size_t look = std::min(kLooks, retired_.size()); look != 0; --look) {
    id = retired_.front();
    retired_.pop_front();
    const StreamState& stream = *streams_[id];
    const bool drained = stream.done == stream.issued && !stream.running;
    if (drained && (!common_.config.strict || (known != nullptr && known->at(id) >= stream.issued))) return true;
    retired_.push_back(id);
  }
  return false;
}

std::uint32_t Scheduler::add_stream(int device, StreamFlags flags, bool legacy, const Clock* known) {
  std::uint32_t id = 0;
  if (!take_retired(known, id)) {
    id = stream_count();
    streams_.push_back(std::make_unique<StreamState>());
  }
  StreamState& stream = *streams_[id];
  stream.id = id;
  stream.device = device;
  stream.flags = flags;
  stream.legacy = legacy;
  stream.alive = true;
  stream.capture = 0;
  stream.polls = 0;
  stream.clock = {};
  return id;
}

// Its queued work still completes, as on a device.
void Scheduler::retire_stream(std::uint32_t id) {
  streams_[id]->alive = false;
  retired_.push_back(id);
}

std::uint64_t Scheduler::submit(StreamState& stream) {
  ++common_.operations;
  ++stream.issued;
  if (immediate_ && stream.queue.empty() && !stream.running) {
    stream.done = stream.issued;
    return stream.issued;
  }
  --common_.operations;
  --stream.issued;
  return submit(stream, {});
}

std::uint64_t Scheduler::submit(StreamState& stream, StreamState::Pending operation) {
  ++common_.operations;
  ++stream.issued;
  ++pending_;
  stream.queue.push_back(std::move(operation));
  if (common_.config.completion == Completion::lag) by_age_.push_back({{stream.id, stream.issued}, common_.operations});
  return stream.issued;
}

bool Scheduler::ready(const StreamState& stream) const {
  if (stream.queue.empty() || stream.running) return false;
  for (const Position& wait : stream.queue.front().waits) {
    if (!complete(wait)) return false;
  }
  return true;
}

void Scheduler::run_front(Lock& lock, StreamState& stream) {
  StreamState::Pending operation = std::move(stream.queue.front());
  stream.queue.pop_front();
  if (operation.host_function) {
    // A host function may take locks of the program, and their holders may be waiting for this lock.
    stream.running = true;
    lock.unlock();
    {
      const HostFunctionScope scope;
      operation.body();
    }
    lock.lock();
    stream.running = false;
    host_function_done_.notify_all();
  } else if (operation.body) {
    operation.body();
  }
  ++stream.done;
  --pending_;
}

bool Scheduler::run_up_to(Lock& lock, Position target, bool block) {
  std::vector<Position> stack{target};  // explicit: chains of waits can be as long as the program
  while (!stack.empty()) {
    const Position at = stack.back();
    StreamState& stream = *streams_[at.stream];
    if (stream.done >= at.position) {
      stack.pop_back();
      continue;
    }
    if (stream.running) {
      if (!block) return false;
      host_function_done_.wait(lock);
      continue;
    }
    const Position* missing = nullptr;
    for (const Position& wait : stream.queue.front().waits) {
      if (!complete(wait)) missing = &wait;
    }
    if (missing != nullptr) {
      stack.push_back(*missing);
    } else {
      run_front(lock, stream);
    }
  }
  return true;
}

void Scheduler::finish(Lock& lock, Position at) {
  if (!complete(at)) run_up_to(lock, at, true);
}

void Scheduler::finish_device(Lock& lock, int device) {
  for (std::uint32_t id = 0; pending_ != 0 && id < stream_count(); ++id) {
    if (streams_[id]->device == device) finish(lock, {id, streams_[id]->issued});
  }
}

void Scheduler::tick_pending(Lock& lock) {
  switch (common_.config.completion) {
    case Completion::eager:
      for (std::uint32_t id = 0; pending_ != 0 && id < stream_count(); ++id)
        run_up_to(lock, {id, streams_[id]->issued}, false);
      break;
    case Completion::lag:
      while (!by_age_.empty() && by_age_.front().operation + common_.config.lag <= common_.operations) {
        const Position at = by_age_.front().at;
        if (!run_up_to(lock, at, false)) break;
        // The lock may have been away: another thread may have taken the front.
        if (!by_age_.empty() && by_age_.front().at.stream == at.stream && by_age_.front().at.position == at.position)
          by_age_.pop_front();
      }
      break;
    case Completion::random:
      tick_random(lock);
      break;
    case Completion::lazy:
    case Completion::manual:
      break;
  }
}

void Scheduler::tick_random(Lock& lock) {
  while (draw() % 3 == 0) {
    StreamState& stream = *streams_[draw() % streams_.size()];
    if (ready(stream)) run_front(lock, stream);
  }
}

std::uint64_t Scheduler::step(Lock& lock, StreamState& stream, std::uint64_t operations) {
  std::uint64_t did = 0;
  for (; did < operations && ready(stream); ++did) run_front(lock, stream);
  return did;
}

void Scheduler::advance(StreamState& legacy, std::uint64_t operations) {
  if (operations == 0) return;
  common_.operations += operations - 1;
  submit(legacy);
}

// splitmix64 (Steele, Lea, Flood, 2014): one word of state, the same on every platform.
std::uint64_t Scheduler::draw() {
  std::uint64_t z = random_ += 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

}  // namespace gapless::driver::sim

// SPDX-License-Identifier: Apache-2.0
#include "stream/stream_order.hpp"

#include <atomic>
#include <mutex>

namespace gapless::stream {

using driver::Result;

std::uint64_t this_thread() {
  static std::atomic<std::uint64_t> threads{0};
  thread_local const std::uint64_t id = threads.fetch_add(1, std::memory_order_relaxed) + 1;
  return id;
}

bool captures(driver::DriverOps& ops, int device, driver::Stream stream) {
  driver::CaptureInfo info;
  const Result result = ops.capture_info(device, stream, info);
  return result == Result::stream_capture_implicit ||
         (result == Result::ok && info.status != driver::CaptureStatus::none);
}

bool StreamOrder::reachable(const StreamState& stream) const {
  if (stream.gone_ || stream.finished_) return false;
  return stream.key_.handle != kPerThreadStream || stream.key_.thread == this_thread();
}

bool StreamOrder::capturing(const StreamState& stream) {
  return reachable(stream) && captures(ops_, device_, stream.handle());
}

void StreamOrder::retire(StreamState& stream, std::uint32_t epoch) {
  while (!stream.closed_.empty() && stream.closed_.front().epoch <= epoch) {
    events_.give(stream.closed_.front().event);
    stream.closed_.erase(stream.closed_.begin());
  }
  if (epoch > stream.complete_) stream.complete_ = epoch;
}

void StreamOrder::poll(StreamState& stream) {
  while (!stream.closed_.empty()) {
    counts_.queries++;
    if (ops_.event_query(device_, stream.closed_.front().event) != Result::ok) return;
    retire(stream, stream.closed_.front().epoch);
  }
}

const StreamState::Closed* StreamOrder::covering(const StreamState& stream, std::uint32_t stamp) const {
  for (const StreamState::Closed& closed : stream.closed_)
    if (closed.epoch >= stamp) return &closed;
  return nullptr;
}

bool StreamOrder::close(StreamState& stream, std::uint32_t stamp) {
  if (known_complete(stream, stamp) || covering(stream, stamp) != nullptr) return true;
  // An event may not be recorded on a capturing stream: it would become a node of the graph.
  if (!reachable(stream) || capturing(stream) || stream.epoch_ == ~0u) return false;
  driver::Event event = nullptr;
  if (stream.closed_.size() >= kLargestRing) {
    poll(stream);
    if (stream.closed_.size() >= kLargestRing) {
      // The newest event moves forward: what it covered is then known later than it could be, which is safe.
      event = stream.closed_.back().event;
      stream.closed_.pop_back();
    }
  }
  if (stream.closed_.size() == stream.closed_.capacity()) stream.closed_.reserve(2 * stream.closed_.size() + 8);
  if (event == nullptr && events_.take(event) != Result::ok) return false;
  std::uint32_t epoch;
  {
    // What is freed from now on may be used by work that the event does not cover.
    const std::lock_guard guard(fast_);
    epoch = stream.epoch_++;
  }
  if (epoch >= kRenumberAt) worn_ = true;
  counts_.records++;
  if (ops_.event_record(device_, event, stream.handle()) != Result::ok) {
    events_.give(event);
    // Not capturing and yet refused: the stream was destroyed.
    stream.gone_ = true;
    return false;
  }
  stream.closed_.push_back(StreamState::Closed{event, epoch});
  return true;
}

bool StreamOrder::order_after(StreamState& waiter, StreamState& stream, std::uint32_t stamp) {
  if (&waiter == &stream || known_complete(stream, stamp)) return true;
  if (stream.id_ < waiter.waited_.size() && waiter.waited_[stream.id_] >= stamp) return true;
  if (!reachable(waiter) || capturing(waiter) || !close(stream, stamp)) return false;
  const StreamState::Closed* const closed = covering(stream, stamp);
  if (closed == nullptr) return known_complete(stream, stamp);
  if (ops_.stream_wait_event(device_, waiter.handle(), closed->event) != Result::ok) return false;
  counts_.wait_edges++;
  if (stream.id_ >= waiter.waited_.size()) waiter.waited_.resize(stream.id_ + std::size_t{1}, 0);
  waiter.waited_[stream.id_] = closed->epoch;
  return true;
}

bool StreamOrder::host_wait(StreamState& stream, std::uint32_t stamp) {
  poll(stream);
  if (known_complete(stream, stamp)) return true;
  if (!close(stream, stamp)) return false;
  const StreamState::Closed* const closed = covering(stream, stamp);
  if (closed == nullptr) return known_complete(stream, stamp);
  counts_.host_waits++;
  if (ops_.event_synchronize(device_, closed->event) != Result::ok) return false;
  retire(stream, closed->epoch);
  return true;
}

Result StreamOrder::host_wait_all(const std::vector<StreamState*>& streams) {
  std::vector<std::uint32_t> closed;
  {
    const std::lock_guard guard(fast_);
    for (StreamState* stream : streams) closed.push_back(stream->finished_ ? stream->epoch_ : stream->epoch_++);
  }
  counts_.host_waits++;
  const Result result = ops_.device_synchronize(device_);
  if (result != Result::ok) return result;
  for (std::size_t i = 0; i < streams.size(); i++) {
    retire(*streams[i], closed[i]);
    streams[i]->gone_ = false;  // its handle may name a new stream: that is asked again
  }
  return result;
}

bool StreamOrder::finish(StreamState& stream) {
  const std::uint32_t last = stream.epoch_;
  const bool closed = !stream.gone_ && close(stream, last);
  if (!closed && !stream.gone_) return false;
  const std::lock_guard guard(fast_);
  // Frees from now on carry the epoch that is closed already: what they wait for was enqueued before.
  if (closed) stream.epoch_ = last;
  stream.finished_ = true;
  return true;
}

void StreamOrder::unlearn(StreamState& waiter, std::uint32_t id) {
  if (id < waiter.waited_.size()) waiter.waited_[id] = 0;
}

void StreamOrder::forget(StreamState& stream) {
  for (const StreamState::Closed& closed : stream.closed_) events_.give(closed.event);
  stream.closed_.clear();
}

void StreamOrder::restart(const std::vector<StreamState*>& streams) {
  for (StreamState* const stream : streams) {
    forget(*stream);
    stream->waited_.clear();
    stream->complete_ = 0;
    // What is freed on a finished stream was enqueued before its end, which is over.
    stream->epoch_ = stream->finished_ ? 0 : 1;
  }
  worn_ = false;
}

}  // namespace gapless::stream

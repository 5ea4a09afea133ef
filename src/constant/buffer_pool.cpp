// SPDX-License-Identifier: Apache-2.0
#include "constant/buffer_pool.hpp"

#include <mutex>
#include <string>
#include <vector>

#include "driver/failed.hpp"

namespace gapless::constant {
namespace {

// A per-thread default stream can be reached from its own thread only.
bool reachable(const stream::StreamKey& key) {
  return key.thread == 0 || key.thread == stream::this_thread();
}

}  // namespace

// A buffer that this thread works on: goes to `after` when the work ends, also when the host runs out of memory in its
// midst. A lease that ends, or was not granted, is forgotten.
class BufferPool::Taken {
 public:
  Taken(BufferPool& pool, Buffer& buffer, State after, std::uint64_t ticket = 0)
      : pool_(pool), buffer_(buffer), after_(after), ticket_(ticket) {}
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;
  ~Taken() {
    const std::lock_guard guard(pool_.lock_);
    buffer_.state = after_;
    if (ticket_ != 0 && after_ == State::free) pool_.leases_.erase(ticket_);
  }
  void becomes(State after) { after_ = after; }

 private:
  BufferPool& pool_;
  Buffer& buffer_;
  State after_;
  const std::uint64_t ticket_;
};

Status BufferPool::acquire(std::uint64_t shape_class, std::uint64_t bytes, driver::Stream stream, Lease& out) {
  if (bytes == 0) return base::fail(Status::invalid_argument, "a lease of 0 bytes");
  if (const Status status = refuse_capture(stream); status != Status::ok) return status;
  Buffer* buffer = nullptr;
  std::uint64_t ticket = 0;
  {
    const std::lock_guard guard(lock_);
    Ring& ring = ring_of(shape_class);
    buffer = next_free(ring);
    if (buffer == nullptr)
      return base::fail(Status::busy, "all buffers of the class are leased (at most " + std::to_string(most_) + ")");
    // The record first: when the host has no memory for it, nothing has been taken.
    leases_.emplace(tickets_ + 1, buffer);
    ticket = ++tickets_;
    buffer->state = State::taken;
  }
  Taken taken(*this, *buffer, State::free, ticket);
  if (const Status status = prepare(*buffer, bytes, stream); status != Status::ok) return status;
  taken.becomes(State::leased);
  const std::lock_guard guard(lock_);
  Ring& ring = rings_.find(shape_class)->second;
  ring.next = (buffer->index + 1) % ring.buffers.size();
  acquired_++;
  buffer->stream = stream::key_of(stream);
  out = Lease{buffer->data, bytes, ticket};
  return Status::ok;
}

Status BufferPool::pass(std::uint64_t ticket, driver::Stream stream) {
  if (const Status status = refuse_capture(stream); status != Status::ok) return status;
  Buffer* buffer = nullptr;
  if (const Status status = take_leased(ticket, buffer); status != Status::ok) return status;
  const Taken taken(*this, *buffer, State::leased);
  const stream::StreamKey next = stream::key_of(stream);
  if (next == buffer->stream) return Status::ok;
  if (const Status status = record(*buffer); status != Status::ok) return status;
  if (const auto result = allocator_.ops().stream_wait_event(device_, stream, buffer->event);
      result != driver::Result::ok)
    return failed("cuStreamWaitEvent", result);
  buffer->stream = next;
  return Status::ok;
}

Status BufferPool::release(std::uint64_t ticket) {
  Buffer* buffer = nullptr;
  if (const Status status = take_leased(ticket, buffer); status != Status::ok) return status;
  Taken taken(*this, *buffer, State::leased, ticket);
  if (const Status status = record(*buffer); status != Status::ok) return status;
  taken.becomes(State::free);
  return Status::ok;
}

Status BufferPool::reserve(std::uint64_t shape_class, std::uint64_t bytes, driver::Stream stream) {
  if (bytes == 0) return base::fail(Status::invalid_argument, "a reserve of 0 bytes");
  if (const Status status = refuse_capture(stream); status != Status::ok) return status;
  std::vector<Buffer*> buffers;
  {
    const std::lock_guard guard(lock_);
    for (Buffer& buffer : ring_of(shape_class).buffers) buffers.push_back(&buffer);
  }
  for (Buffer* const buffer : buffers) {
    if (!take_free(*buffer)) continue;
    const Taken taken(*this, *buffer, State::free);
    if (buffer->bytes >= bytes) continue;
    if (const Status status = make_ready(*buffer, bytes, stream); status != Status::ok) return status;
  }
  return Status::ok;
}

Status BufferPool::trim(std::uint64_t& released) {
  std::vector<Buffer*> buffers;
  {
    const std::lock_guard guard(lock_);
    for (auto& [shape_class, ring] : rings_)
      for (Buffer& buffer : ring.buffers) buffers.push_back(&buffer);
  }
  released = 0;
  for (Buffer* const buffer : buffers) {
    if (!take_free(*buffer)) continue;
    const Taken taken(*this, *buffer, State::free);
    if (buffer->data == nullptr) continue;
    const std::uint64_t bytes = buffer->bytes;
    if (const Status status = give_memory_back(*buffer); status != Status::ok) return status;
    released += bytes;
  }
  return Status::ok;
}

void BufferPool::read_stats(gapless_constant_stats& out) {
  const std::lock_guard guard(lock_);
  out.classes = rings_.size();
  for (const auto& [shape_class, ring] : rings_) {
    for (const Buffer& buffer : ring.buffers) {
      out.buffers += buffer.data != nullptr ? 1 : 0;
      out.bytes += buffer.bytes;
    }
  }
  out.leased = leases_.size();
  out.acquired = acquired_;
  out.moved = moved_;
}

Status BufferPool::close() {
  {
    const std::lock_guard guard(lock_);
    if (!leases_.empty()) return base::fail(Status::busy, std::to_string(leases_.size()) + " leases are out");
  }
  std::uint64_t released = 0;
  if (const Status status = trim(released); status != Status::ok) return status;
  for (auto& [shape_class, ring] : rings_)
    for (Buffer& buffer : ring.buffers)
      if (buffer.event != nullptr) static_cast<void>(allocator_.ops().event_destroy(device_, buffer.event));
  rings_.clear();
  return Status::ok;
}

// Under the lock.
BufferPool::Ring& BufferPool::ring_of(std::uint64_t shape_class) {
  Ring& ring = rings_[shape_class];
  while (ring.buffers.size() < depth_) ring.buffers.emplace_back(Buffer{.index = ring.buffers.size()});
  return ring;
}

// Under the lock. Round the ring, so that the n-th lease of a class has the address of the one a round before; one that
// is still out is passed over.
BufferPool::Buffer* BufferPool::next_free(Ring& ring) {
  const std::size_t size = ring.buffers.size();
  for (std::size_t i = 0; i < size; ++i) {
    Buffer& buffer = ring.buffers[(ring.next + i) % size];
    if (buffer.state == State::free) return &buffer;
  }
  return size < most_ ? &ring.buffers.emplace_back(Buffer{.index = size}) : nullptr;
}

Status BufferPool::take_leased(std::uint64_t ticket, Buffer*& out) {
  const std::lock_guard guard(lock_);
  const auto found = leases_.find(ticket);
  if (found == leases_.end() || found->second->state != State::leased)
    return base::fail(Status::not_found, "no lease has the ticket " + std::to_string(ticket));
  out = found->second;
  out->state = State::taken;
  return Status::ok;
}

bool BufferPool::take_free(Buffer& buffer) {
  const std::lock_guard guard(lock_);
  if (buffer.state != State::free) return false;
  buffer.state = State::taken;
  return true;
}

// Large enough, and `stream` after all that used it.
Status BufferPool::prepare(Buffer& buffer, std::uint64_t bytes, driver::Stream stream) {
  // Also on the stream that it was released on: a stream's handle may by now be that of another.
  if (buffer.used)
    if (const auto result = allocator_.ops().stream_wait_event(device_, stream, buffer.event);
        result != driver::Result::ok)
      return failed("cuStreamWaitEvent", result);
  if (buffer.bytes >= bytes) return Status::ok;

  void* larger = nullptr;
  if (const Status status = allocator_.allocate(device_, stream, bytes, &larger); status != Status::ok) return status;
  if (buffer.data != nullptr) {
    // `stream` comes after the old one's users, so what reuses the old memory has to come after `stream`.
    engine::DeviceAllocator* device = nullptr;
    const vmm::Region* region = nullptr;
    Status status = allocator_.locate(buffer.data, device, region);
    if (status == Status::ok)
      status = device->record_stream(*region, reinterpret_cast<std::uint64_t>(buffer.data), stream);
    if (status == Status::ok) status = allocator_.deallocate(buffer.data);
    if (status != Status::ok) {
      static_cast<void>(allocator_.deallocate(larger));
      return status;
    }
  }
  const std::lock_guard guard(lock_);
  moved_ += buffer.data != nullptr ? 1 : 0;
  buffer.data = larger;
  buffer.bytes = bytes;
  return Status::ok;
}

// Memory made for `stream` is another stream's only after what `stream` holds now, so that is recorded.
Status BufferPool::make_ready(Buffer& buffer, std::uint64_t bytes, driver::Stream stream) {
  if (const Status status = prepare(buffer, bytes, stream); status != Status::ok) return status;
  buffer.stream = stream::key_of(stream);
  const Status status = record(buffer);
  if (status == Status::ok) return status;
  // Nobody has used the new memory: it goes back in the order of `stream`.
  static_cast<void>(allocator_.deallocate(buffer.data));
  const std::lock_guard guard(lock_);
  buffer.data = nullptr;
  buffer.bytes = 0;
  return status;
}

// What its stream holds now comes before whoever waits for the buffer's event.
Status BufferPool::record(Buffer& buffer) {
  driver::DriverOps& ops = allocator_.ops();
  if (!reachable(buffer.stream))
    return base::fail(Status::invalid_argument, "the lease belongs to the default stream of another thread");
  if (const Status status = refuse_capture(buffer.stream.handle); status != Status::ok) return status;
  if (buffer.event == nullptr)
    if (const auto result = ops.event_create(device_, buffer.event); result != driver::Result::ok)
      return failed("cuEventCreate", result);
  if (const auto result = ops.event_record(device_, buffer.event, buffer.stream.handle); result != driver::Result::ok)
    return failed("cuEventRecord", result);
  buffer.used = true;
  return Status::ok;
}

Status BufferPool::give_memory_back(Buffer& buffer) {
  // The host waits: the stream that used it last may be gone, so it cannot be recorded on the block. The event was
  // recorded outside any capture, so a capture elsewhere need not be broken by it.
  const engine::RelaxedCapture relaxed(allocator_.ops());
  if (buffer.used)
    if (const auto result = allocator_.ops().event_synchronize(device_, buffer.event); result != driver::Result::ok)
      return failed("cuEventSynchronize", result);
  buffer.used = false;
  if (const Status status = allocator_.deallocate(buffer.data); status != Status::ok) return status;
  const std::lock_guard guard(lock_);
  buffer.data = nullptr;
  buffer.bytes = 0;
  return Status::ok;
}

Status BufferPool::refuse_capture(driver::Stream stream) {
  if (stream::captures(allocator_.ops(), device_, stream))
    return base::fail(Status::in_capture, "the stream captures: hold the lease as long as the graph");
  return Status::ok;
}

Status BufferPool::failed(const char* call, driver::Result result) {
  return driver::failed(allocator_.ops(), call, result);
}

}  // namespace gapless::constant

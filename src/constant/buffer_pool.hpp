// SPDX-License-Identifier: Apache-2.0
// Buffers of constant address: classes, their rings of buffers, and leases, as gapless.h's section says.
//
// A buffer is free, leased, or taken: taken by the thread that works on it outside the lock, which is never held across
// a call of the driver or of the engine. The order between the streams of two leases is one event of the buffer.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <unordered_map>

#include "base/lock.hpp"
#include "engine/allocator.hpp"
#include "gapless/gapless.h"
#include "stream/stream_key.hpp"

namespace gapless::constant {

struct Lease {
  void* address;
  std::uint64_t bytes;
  std::uint64_t ticket;
};

class BufferPool {
 public:
  // `lock` is shared by the pools of an allocator, so that a fork has one to hold.
  BufferPool(engine::Allocator& allocator, base::LeafLock& lock, int device, std::uint32_t depth, std::uint32_t most)
      : allocator_(allocator), lock_(lock), device_(device), depth_(depth), most_(most) {}
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  // close() came before.
  ~BufferPool() = default;

  int device() const { return device_; }
  Status acquire(std::uint64_t shape_class, std::uint64_t bytes, driver::Stream stream, Lease& out);
  Status pass(std::uint64_t ticket, driver::Stream stream);
  Status release(std::uint64_t ticket);
  Status reserve(std::uint64_t shape_class, std::uint64_t bytes, driver::Stream stream);
  Status trim(std::uint64_t& released);
  void read_stats(gapless_constant_stats& out);
  // Gives everything back. Errors: BUSY.
  Status close();

 private:
  enum class State : std::uint8_t { free, taken, leased };
  struct Buffer {
    std::size_t index = 0;  // in its ring
    State state = State::free;
    bool used = false;  // `event` stands for work that may not be over
    void* data = nullptr;
    std::uint64_t bytes = 0;
    driver::Event event = nullptr;
    stream::StreamKey stream{};  // of the lease
  };
  // A deque: buffers stay where they are when the ring grows.
  struct Ring {
    std::deque<Buffer> buffers;
    std::size_t next = 0;
  };

  class Taken;

  Ring& ring_of(std::uint64_t shape_class);
  Buffer* next_free(Ring& ring);
  Status take_leased(std::uint64_t ticket, Buffer*& out);
  bool take_free(Buffer& buffer);

  // Of a buffer that this thread has taken.
  Status prepare(Buffer& buffer, std::uint64_t bytes, driver::Stream stream);
  Status make_ready(Buffer& buffer, std::uint64_t bytes, driver::Stream stream);
  Status record(Buffer& buffer);
  Status give_memory_back(Buffer& buffer);
  Status refuse_capture(driver::Stream stream);
  Status failed(const char* call, driver::Result result);

  engine::Allocator& allocator_;
  base::LeafLock& lock_;  // the members below, and the state of buffers
  const int device_;
  const std::uint32_t depth_;
  const std::uint32_t most_;
  std::map<std::uint64_t, Ring> rings_;
  std::unordered_map<std::uint64_t, Buffer*> leases_;
  std::uint64_t tickets_ = 0;
  std::uint64_t acquired_ = 0;
  std::uint64_t moved_ = 0;
};

}  // namespace gapless::constant

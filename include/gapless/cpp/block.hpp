// SPDX-License-Identifier: Apache-2.0
/// @file
/// Block: the unique owner of a piece of device memory. Array<T>: the same, counted in elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "gapless/cpp/status.hpp"
#include "gapless/gapless.h"

namespace gapless {

/// A CUstream or cudaStream_t. Null is the legacy default stream.
using Stream = gapless_stream;

/// What gapless knows of a block: sizes in bytes, device, stream, segment.
using BlockInfo = gapless_block_info;

/// Owns one block of device memory. The host must not read or write through data().
///
/// Destruction gives the memory back in the order of its stream and of the streams recorded on it: it never waits, and
/// work that was enqueued before it may still be running.
class Block {
 public:
  /// Owns nothing.
  Block() noexcept = default;
  Block(Block&& other) noexcept
      : allocator_(other.allocator_),
        data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)),
        stream_(other.stream_) {}
  Block& operator=(Block&& other) noexcept {
    if (this != &other) {
      reset();
      allocator_ = other.allocator_;
      data_ = std::exchange(other.data_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
      stream_ = other.stream_;
    }
    return *this;
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() { reset(); }

  /// Takes over a block that gapless_allocate made, or that release() let go.
  [[nodiscard]] static Block adopt(gapless_allocator* allocator, void* data, std::size_t bytes,
                                   Stream stream) noexcept {
    Block block;
    block.allocator_ = allocator;
    block.data_ = data;
    block.bytes_ = bytes;
    block.stream_ = stream;
    return block;
  }

  /// Device address, a multiple of 512; null when it owns nothing.
  [[nodiscard]] void* data() const noexcept { return data_; }
  /// Bytes asked for; what counts as allocated is rounded up, see info().
  [[nodiscard]] std::size_t size() const noexcept { return bytes_; }
  /// The stream that it was made for.
  [[nodiscard]] Stream stream() const noexcept { return stream_; }
  [[nodiscard]] bool empty() const noexcept { return data_ == nullptr; }
  explicit operator bool() const noexcept { return data_ != nullptr; }

  /// Gives the memory back now.
  void reset() noexcept {
    // A live block can always be given back; the status would only tell of a pointer that adopt() was wrong about.
    if (data_ != nullptr) static_cast<void>(gapless_deallocate(allocator_, std::exchange(data_, nullptr)));
    bytes_ = 0;
  }
  /// Lets go without giving back: the caller now owes gapless_deallocate.
  [[nodiscard]] void* release() noexcept {
    bytes_ = 0;
    return std::exchange(data_, nullptr);
  }

  ///@{
  /// Work on `stream`, already enqueued or to be enqueued while this block lives, uses the memory too: it is reused
  /// only after that work. A block that owns nothing has nothing to record.
  Result<void> try_record_stream(Stream stream) noexcept {
    return data_ == nullptr ? Result<void>() : detail::result_of(gapless_record_stream(allocator_, data_, stream));
  }
  void record_stream(Stream stream) { try_record_stream(stream).value(); }
  ///@}

  ///@{
  /// Rounded size, segment and the rest. Fails with unknown_pointer when it owns nothing.
  [[nodiscard]] Result<BlockInfo> try_info() const noexcept {
    BlockInfo info = GAPLESS_STRUCT(gapless_block_info);
    return detail::result_of(gapless_block_of(allocator_, data_, &info), info);
  }
  [[nodiscard]] BlockInfo info() const { return try_info().value(); }
  ///@}

 private:
  gapless_allocator* allocator_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  Stream stream_ = nullptr;
};

/// A Block of `size()` elements of T. T's constructors and destructors do not run: the memory is the device's.
template <typename T>
class Array {
  static_assert(std::is_trivially_copyable_v<T>,
                "device memory is filled by copies and kernels, never by constructors");
  static_assert(alignof(T) <= 512, "blocks are aligned to 512 bytes");

 public:
  Array() noexcept = default;
  /// `block` holds whole elements of T.
  explicit Array(Block block) noexcept : block_(std::move(block)) {}

  [[nodiscard]] T* data() const noexcept { return static_cast<T*>(block_.data()); }
  [[nodiscard]] std::size_t size() const noexcept { return block_.size() / sizeof(T); }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return block_.size(); }
  [[nodiscard]] bool empty() const noexcept { return block_.empty(); }
  [[nodiscard]] Stream stream() const noexcept { return block_.stream(); }

  [[nodiscard]] Block& block() & noexcept { return block_; }
  [[nodiscard]] const Block& block() const& noexcept { return block_; }
  [[nodiscard]] Block&& block() && noexcept { return std::move(block_); }

 private:
  Block block_;
};

}  // namespace gapless

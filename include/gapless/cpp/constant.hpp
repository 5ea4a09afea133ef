// SPDX-License-Identifier: Apache-2.0
/// @file
/// ConstantPool: buffers for input pipelines whose addresses stay. Lease: the use of one. PaddedBatch: a ragged batch,
/// padded on the device into one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "gapless/cpp/block.hpp"
#include "gapless/cpp/status.hpp"
#include "gapless/gapless.h"

namespace gapless {

/// Classes, buffers, leases of a pool; bytes as asked for.
using ConstantStats = gapless_constant_stats;
/// Sequences one after the other (tokens in host or device memory, lengths in host memory), and how to pad them.
using RaggedBatch = gapless_ragged_batch;
/// The sequence that did not fit: index and length; index -1: all fit.
using PadError = gapless_pad_error;

/// The use of one buffer of a ConstantPool by one stream at a time. Its end gives the buffer back in the order of that
/// stream: it does not wait, and work that was enqueued before it may still be running. The pool lives longer.
class Lease {
 public:
  /// Uses nothing.
  Lease() noexcept = default;
  Lease(Lease&& other) noexcept : pool_(other.pool_), lease_(std::exchange(other.lease_, {})) {}
  Lease& operator=(Lease&& other) noexcept {
    if (this != &other) {
      reset();
      pool_ = other.pool_;
      lease_ = std::exchange(other.lease_, {});
    }
    return *this;
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() { reset(); }

  /// Takes over what gapless_constant_acquire gave, or release() let go.
  [[nodiscard]] static Lease adopt(gapless_constant_pool* pool, const gapless_lease& raw) noexcept {
    Lease lease;
    lease.pool_ = pool;
    lease.lease_ = raw;
    return lease;
  }

  /// Device address, a multiple of 512; null when it uses nothing.
  [[nodiscard]] void* data() const noexcept { return lease_.address; }
  /// Bytes asked for.
  [[nodiscard]] std::size_t size() const noexcept { return lease_.bytes; }
  [[nodiscard]] std::uint64_t ticket() const noexcept { return lease_.ticket; }
  explicit operator bool() const noexcept { return lease_.ticket != 0; }

  ///@{
  /// The lease belongs to `stream` from now on: its work comes after all that the stream before holds now.
  Result<void> try_pass(Stream stream) noexcept {
    return detail::result_of(gapless_constant_pass(pool_, lease_.ticket, stream));
  }
  void pass(Stream stream) { try_pass(stream).value(); }
  ///@}

  ///@{
  /// Gives the buffer back now. Fails with in_capture or driver, and then still uses it.
  Result<void> try_release() noexcept {
    if (lease_.ticket == 0) return {};
    Result<void> released = detail::result_of(gapless_constant_release(pool_, lease_.ticket));
    if (released) lease_ = {};
    return released;
  }
  ///@}
  /// Gives the buffer back now; where that fails it stays leased and the pool stays open.
  void reset() noexcept {
    static_cast<void>(try_release());
    lease_ = {};
  }
  /// Lets go without giving back: the caller now owes gapless_constant_release.
  [[nodiscard]] gapless_lease release() noexcept { return std::exchange(lease_, {}); }

 private:
  gapless_constant_pool* pool_ = nullptr;
  gapless_lease lease_{};
};

/// A padded batch in a buffer of a pool: rows x length elements of each output, null for what was not asked for.
class PaddedBatch {
 public:
  PaddedBatch(gapless_constant_pool* pool, const gapless_padded_batch& raw) noexcept
      : raw_(raw), lease_(Lease::adopt(pool, gapless_lease{sizeof(gapless_lease), raw.tokens, 0, raw.ticket})) {}

  [[nodiscard]] std::int64_t rows() const noexcept { return raw_.rows; }
  [[nodiscard]] std::int64_t length() const noexcept { return raw_.length; }
  /// @name Device addresses
  ///@{
  [[nodiscard]] std::int64_t* tokens() const noexcept { return raw_.tokens; }
  [[nodiscard]] std::int64_t* mask() const noexcept { return raw_.mask; }
  [[nodiscard]] std::int64_t* positions() const noexcept { return raw_.positions; }
  [[nodiscard]] std::int64_t* labels() const noexcept { return raw_.labels; }
  /// rows() + 1 elements.
  [[nodiscard]] std::int32_t* cu_seqlens() const noexcept { return raw_.cu_seqlens; }
  ///@}

  /// What holds the buffer: pass it on to the stream that reads the batch.
  [[nodiscard]] Lease& lease() noexcept { return lease_; }

 private:
  gapless_padded_batch raw_;
  Lease lease_;
};

/// Owns a pool of constant buffers; see Device::make_constant_pool and docs/constant_buffers.md. Leases end before it.
/// One that is destroyed while leases are out, or while the device fails, stays open for the rest of the process.
class ConstantPool {
 public:
  /// Owns nothing.
  ConstantPool() noexcept = default;
  ConstantPool(ConstantPool&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  ConstantPool& operator=(ConstantPool&& other) noexcept {
    if (this != &other) {
      reset();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ConstantPool(const ConstantPool&) = delete;
  ConstantPool& operator=(const ConstantPool&) = delete;
  ~ConstantPool() { reset(); }

  [[nodiscard]] static Result<ConstantPool> try_make(gapless_allocator* allocator, int device, unsigned depth,
                                                     unsigned most) noexcept {
    gapless_constant_pool_args args = GAPLESS_STRUCT(gapless_constant_pool_args);
    args.device = device;
    args.depth = depth;
    args.most = most;
    ConstantPool pool;
    const gapless_status status = gapless_constant_pool_create(allocator, &args, &pool.handle_);
    if (status != GAPLESS_OK) return detail::failure_of(status);
    return Result<ConstantPool>(std::move(pool));
  }

  [[nodiscard]] gapless_constant_pool* handle() const noexcept { return handle_; }
  explicit operator bool() const noexcept { return handle_ != nullptr; }

  ///@{
  /// The next buffer of the class for work on `stream`. Fails with busy when all of them are leased.
  [[nodiscard]] Result<Lease> try_acquire(std::uint64_t shape_class, std::size_t bytes,
                                          Stream stream = nullptr) const noexcept {
    gapless_lease raw = GAPLESS_STRUCT(gapless_lease);
    const gapless_status status = gapless_constant_acquire(handle_, shape_class, bytes, stream, &raw);
    if (status != GAPLESS_OK) return detail::failure_of(status);
    return Lease::adopt(handle_, raw);
  }
  [[nodiscard]] Lease acquire(std::uint64_t shape_class, std::size_t bytes, Stream stream = nullptr) const {
    return try_acquire(shape_class, bytes, stream).value();
  }
  ///@}

  ///@{
  /// Pads on `stream`. Fails with invalid_argument when a sequence is too long: then `error`, if given, names it.
  [[nodiscard]] Result<PaddedBatch> try_pad(const RaggedBatch& batch, Stream stream = nullptr,
                                            PadError* error = nullptr) const noexcept {
    gapless_padded_batch raw = GAPLESS_STRUCT(gapless_padded_batch);
    const gapless_status status = gapless_pad(handle_, &batch, stream, &raw, error);
    if (status != GAPLESS_OK) return detail::failure_of(status);
    return PaddedBatch(handle_, raw);
  }
  [[nodiscard]] PaddedBatch pad(const RaggedBatch& batch, Stream stream = nullptr) const {
    return try_pad(batch, stream).value();
  }
  ///@}

  ///@{
  /// Makes the buffers of a class ahead, or those of batches like `batch` with rows up to `longest` tokens.
  Result<void> try_reserve(std::uint64_t shape_class, std::size_t bytes, Stream stream = nullptr) const noexcept {
    return detail::result_of(gapless_constant_reserve(handle_, shape_class, bytes, stream));
  }
  void reserve(std::uint64_t shape_class, std::size_t bytes, Stream stream = nullptr) const {
    try_reserve(shape_class, bytes, stream).value();
  }
  Result<void> try_reserve(const RaggedBatch& batch, std::int64_t longest, Stream stream = nullptr) const noexcept {
    return detail::result_of(gapless_pad_reserve(handle_, &batch, longest, stream));
  }
  void reserve(const RaggedBatch& batch, std::int64_t longest, Stream stream = nullptr) const {
    try_reserve(batch, longest, stream).value();
  }
  ///@}

  ///@{
  /// Gives back the buffers that nobody leases; the host waits for their work. Returns bytes.
  Result<std::size_t> try_trim() const noexcept {
    std::size_t released = 0;
    const gapless_status status = gapless_constant_trim(handle_, &released);
    return detail::result_of(status, released);
  }
  std::size_t trim() const { return try_trim().value(); }
  [[nodiscard]] Result<ConstantStats> try_stats() const noexcept {
    ConstantStats stats = GAPLESS_STRUCT(gapless_constant_stats);
    const gapless_status status = gapless_constant_get_stats(handle_, &stats);
    return detail::result_of(status, stats);
  }
  [[nodiscard]] ConstantStats stats() const { return try_stats().value(); }
  ///@}

  ///@{
  /// Gives everything back now; the host waits for the work on its buffers. Fails with busy while leases are out.
  Result<void> try_close() noexcept {
    if (handle_ == nullptr) return {};
    Result<void> closed = detail::result_of(gapless_constant_pool_destroy(handle_));
    if (closed) handle_ = nullptr;
    return closed;
  }
  void close() { try_close().value(); }
  ///@}

 private:
  void reset() noexcept {
    static_cast<void>(try_close());
    handle_ = nullptr;
  }

  gapless_constant_pool* handle_ = nullptr;
};

}  // namespace gapless

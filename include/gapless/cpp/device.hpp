// SPDX-License-Identifier: Apache-2.0
/// @file
/// Device: what an allocator does on one GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "gapless/cpp/block.hpp"
#include "gapless/cpp/constant.hpp"
#include "gapless/cpp/limit.hpp"
#include "gapless/cpp/oom_hook.hpp"
#include "gapless/cpp/pool.hpp"
#include "gapless/cpp/snapshot.hpp"
#include "gapless/cpp/status.hpp"
#include "gapless/gapless.h"

namespace gapless {

/// PyTorch's device statistics in its definitions, and gapless's counters. Bytes are bytes.
using Stats = gapless_stats;
/// What the journal predicts for a step: bytes, and a suggested batch with its evidence.
using Forecast = gapless_forecast;

/// No limit on physical memory.
inline constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

/// A view of one device of an allocator: two words, copied freely, owning nothing.
class Device {
 public:
  /// `ordinal` as CUDA counts devices. A device that does not exist is an invalid_argument of the first operation.
  Device(gapless_allocator* allocator, int ordinal) noexcept : allocator_(allocator), ordinal_(ordinal) {}

  [[nodiscard]] gapless_allocator* allocator() const noexcept { return allocator_; }
  [[nodiscard]] int ordinal() const noexcept { return ordinal_; }
  friend bool operator==(const Device&, const Device&) noexcept = default;

  ///@{
  /// Succeeds if the device can be served; fails with unsupported (an old driver, a virtual GPU) and the reason.
  Result<void> try_probe() const noexcept { return detail::result_of(gapless_probe_device(allocator_, ordinal_)); }
  void probe() const { try_probe().value(); }
  ///@}

  ///@{
  /// `bytes` of device memory for work on `stream`. 0 bytes: an empty block. Tens of nanoseconds when the memory is at
  /// hand; a miss calls the driver. Fails with out_of_memory after the miss ladder and the hooks; then nothing has
  /// changed.
  [[nodiscard]] Result<Block> try_allocate(std::size_t bytes, Stream stream = nullptr) const noexcept {
    void* data = nullptr;
    const gapless_status status = gapless_allocate(allocator_, ordinal_, stream, bytes, &data);
    if (status != GAPLESS_OK) return detail::failure_of(status);
    return Block::adopt(allocator_, data, data == nullptr ? 0 : bytes, stream);
  }
  [[nodiscard]] Block allocate(std::size_t bytes, Stream stream = nullptr) const {
    return try_allocate(bytes, stream).value();
  }
  /// The same in elements of T. More bytes than a size_t counts are an out_of_memory.
  template <typename T>
  [[nodiscard]] Result<Array<T>> try_allocate_array(std::size_t count, Stream stream = nullptr) const noexcept {
    // The wish is larger than any device: no wrapped size may reach the allocator.
    const std::size_t bytes = count > kNoLimit / sizeof(T) ? kNoLimit : count * sizeof(T);
    Result<Block> block = try_allocate(bytes, stream);
    if (!block) return block.failure();
    return Array<T>(std::move(*block));
  }
  template <typename T>
  [[nodiscard]] Array<T> allocate_array(std::size_t count, Stream stream = nullptr) const {
    return try_allocate_array<T>(count, stream).value();
  }
  ///@}

  ///@{
  /// Backs `bytes` with physical memory ahead, so that a first step makes no driver call for them.
  Result<void> try_warm_up(std::size_t bytes, Stream stream = nullptr) const noexcept {
    return detail::result_of(gapless_warm_up(allocator_, ordinal_, stream, bytes));
  }
  void warm_up(std::size_t bytes, Stream stream = nullptr) const { try_warm_up(bytes, stream).value(); }
  ///@}

  ///@{
  /// Says that `stream` is about to be destroyed; call it when all work on its blocks is enqueued. Its blocks stay
  /// valid and may die later. Without it the driver is asked about a stream that is no more. Fails with in_capture.
  Result<void> try_forget_stream(Stream stream) const noexcept {
    return detail::result_of(gapless_forget_stream(allocator_, ordinal_, stream));
  }
  void forget_stream(Stream stream) const { try_forget_stream(stream).value(); }
  ///@}

  ///@{
  /// Waits for pending uses, then releases idle physical memory of the default pool until at most `keep` bytes stay
  /// reserved; returns the bytes released.
  Result<std::size_t> try_trim(std::size_t keep = 0) const noexcept {
    std::size_t released = 0;
    const gapless_status status = gapless_trim(allocator_, ordinal_, PoolId{}, keep, &released);
    return detail::result_of(status, released);
  }
  std::size_t trim(std::size_t keep = 0) const { return try_trim(keep).value(); }
  ///@}

  ///@{
  /// At most `bytes` of physical memory on this device from now on (kNoLimit: as much as there is). Nothing is
  /// released.
  Result<void> try_set_limit(std::size_t bytes) const noexcept {
    return detail::result_of(gapless_set_limit(allocator_, ordinal_, bytes));
  }
  void set_limit(std::size_t bytes) const { try_set_limit(bytes).value(); }
  [[nodiscard]] Result<std::size_t> try_limit() const noexcept {
    std::size_t bytes = 0;
    const gapless_status status = gapless_get_limit(allocator_, ordinal_, &bytes);
    return detail::result_of(status, bytes);
  }
  [[nodiscard]] std::size_t limit() const { return try_limit().value(); }
  /// The same until the returned object dies; then the limit of before holds again.
  [[nodiscard]] Result<ScopedLimit> try_limit_to(std::size_t bytes) const noexcept {
    return ScopedLimit::try_make(allocator_, ordinal_, bytes);
  }
  [[nodiscard]] ScopedLimit limit_to(std::size_t bytes) const { return try_limit_to(bytes).value(); }
  ///@}

  ///@{
  /// The largest block, in bytes, that could be had now without an out_of_memory.
  [[nodiscard]] Result<std::size_t> try_largest_available() const noexcept {
    std::size_t bytes = 0;
    const gapless_status status = gapless_largest_available(allocator_, ordinal_, &bytes);
    return detail::result_of(status, bytes);
  }
  [[nodiscard]] std::size_t largest_available() const { return try_largest_available().value(); }
  ///@}

  ///@{
  /// All counters at one moment.
  [[nodiscard]] Result<Stats> try_stats() const noexcept {
    Stats stats = GAPLESS_STRUCT(gapless_stats);
    const gapless_status status = gapless_get_stats(allocator_, ordinal_, &stats);
    return detail::result_of(status, stats);
  }
  [[nodiscard]] Stats stats() const { return try_stats().value(); }
  /// Peaks start again from what is there; sums start again from 0.
  Result<void> try_reset_peak_stats() const noexcept {
    return detail::result_of(gapless_reset_peak_stats(allocator_, ordinal_));
  }
  void reset_peak_stats() const { try_reset_peak_stats().value(); }
  Result<void> try_reset_accumulated_stats() const noexcept {
    return detail::result_of(gapless_reset_accumulated_stats(allocator_, ordinal_));
  }
  void reset_accumulated_stats() const { try_reset_accumulated_stats().value(); }
  ///@}

  ///@{
  /// A copy of the mapped ranges and blocks of this device. The host's std::bad_alloc can leave here.
  [[nodiscard]] Result<Snapshot> try_snapshot() const { return Snapshot::try_take(allocator_, ordinal_); }
  [[nodiscard]] Snapshot snapshot() const { return try_snapshot().value(); }
  ///@}

  ///@{
  /// A pool of this device that no one else has, or the one called `id` (made when it is new). With `source`, its
  /// segments come from there. The host's std::bad_alloc can leave the forms with a source.
  [[nodiscard]] Result<Pool> try_make_pool() const noexcept { return try_make_pool(Pool::unique_id()); }
  [[nodiscard]] Pool make_pool() const { return try_make_pool().value(); }
  [[nodiscard]] Result<Pool> try_make_pool(PoolId id) const noexcept {
    return Pool::try_make(allocator_, ordinal_, id);
  }
  [[nodiscard]] Pool make_pool(PoolId id) const { return try_make_pool(id).value(); }
  [[nodiscard]] Result<Pool> try_make_pool(PoolId id, SegmentSource source) const {
    return Pool::try_make(allocator_, ordinal_, id, std::move(source));
  }
  [[nodiscard]] Pool make_pool(PoolId id, SegmentSource source) const {
    return try_make_pool(id, std::move(source)).value();
  }
  ///@}

  ///@{
  /// A pool of buffers with constant addresses for an input pipeline: `depth` for each shape class, up to `most` while
  /// all are in use (0: no more). It is closed before the allocator.
  [[nodiscard]] Result<ConstantPool> try_make_constant_pool(unsigned depth = 2, unsigned most = 0) const noexcept {
    return ConstantPool::try_make(allocator_, ordinal_, depth, most);
  }
  [[nodiscard]] ConstantPool make_constant_pool(unsigned depth = 2, unsigned most = 0) const {
    return try_make_constant_pool(depth, most).value();
  }
  ///@}

  ///@{
  /// Marks of the training loop. They sharpen the OOM record and the forecast; nothing depends on them. Of a label 31
  /// bytes are kept. `units`: the size of the step's batch in samples or tokens, 0 when unknown.
  Result<void> try_mark_step(const char* label, std::uint64_t units = 0) const noexcept {
    return detail::result_of(gapless_mark_step(allocator_, ordinal_, label, units));
  }
  void mark_step(const char* label, std::uint64_t units = 0) const { try_mark_step(label, units).value(); }
  Result<void> try_mark_phase(const char* label) const noexcept {
    return detail::result_of(gapless_mark_phase(allocator_, ordinal_, label));
  }
  void mark_phase(const char* label) const { try_mark_phase(label).value(); }
  ///@}

  ///@{
  /// The expected live peak of a step of `units`, in bytes. Fails with not_found while there is too little evidence.
  [[nodiscard]] Result<Forecast> try_forecast(std::uint64_t units) const noexcept {
    Forecast forecast = GAPLESS_STRUCT(gapless_forecast);
    const gapless_status status = gapless_forecast_step(allocator_, ordinal_, units, &forecast);
    return detail::result_of(status, forecast);
  }
  [[nodiscard]] Forecast forecast(std::uint64_t units) const { return try_forecast(units).value(); }
  ///@}

  ///@{
  /// The last request of this device that failed. Fails with not_found when there was none.
  [[nodiscard]] Result<OomRecord> try_last_oom() const noexcept {
    OomRecord record = GAPLESS_STRUCT(gapless_oom_record);
    const gapless_status status = gapless_last_oom(allocator_, ordinal_, &record);
    return detail::result_of(status, record);
  }
  [[nodiscard]] OomRecord last_oom() const { return try_last_oom().value(); }
  ///@}

  ///@{
  /// Makes this device's memory, mapped now or later, accessible from the device `peer`.
  Result<void> try_enable_peer(int peer) const noexcept {
    return detail::result_of(gapless_enable_peer(allocator_, ordinal_, peer));
  }
  void enable_peer(int peer) const { try_enable_peer(peer).value(); }
  ///@}

 private:
  gapless_allocator* allocator_;
  int ordinal_;
};

}  // namespace gapless

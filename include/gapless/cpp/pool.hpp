// SPDX-License-Identifier: Apache-2.0
/// @file
/// Pool: memory of its own for some allocations. PoolScope: while it lives, allocations go to a pool. Checkpoint: a
/// pool's layout.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "gapless/cpp/block.hpp"
#include "gapless/cpp/status.hpp"
#include "gapless/gapless.h"

namespace gapless {

/// PyTorch's MempoolId_t: (capture, 0), (0, user), or (0, 0), the default pool.
using PoolId = gapless_pool_id;

/// Where a pool gets its segments, when not from gapless itself. Both run with no lock of gapless held and must not
/// throw. The memory must not be a block of the same allocator: an address would then mean two blocks.
struct SegmentSource {
  /// Returns device memory of at least `bytes` for `stream`, or null when there is none.
  std::function<void*(int device, Stream stream, std::size_t bytes)> allocate;
  std::function<void(int device, void* segment, std::size_t bytes)> deallocate;
};

/// The layout of a pool at one moment; see Pool::restore.
class Checkpoint {
 public:
  explicit Checkpoint(gapless_checkpoint* handle) noexcept : handle_(handle) {}
  [[nodiscard]] const gapless_checkpoint* handle() const noexcept { return handle_.get(); }

 private:
  struct Destroy {
    void operator()(gapless_checkpoint* handle) const noexcept { gapless_checkpoint_destroy(handle); }
  };
  std::unique_ptr<gapless_checkpoint, Destroy> handle_;
};

namespace detail {

/// Names a pool for one object at a time: what is moved from names none.
struct PoolName {
  gapless_allocator* allocator = nullptr;
  int device = 0;
  PoolId id{};

  PoolName() noexcept = default;
  PoolName(gapless_allocator* allocator_of_it, int device_of_it, PoolId its_id) noexcept
      : allocator(allocator_of_it), device(device_of_it), id(its_id) {}
  PoolName(PoolName&& other) noexcept
      : allocator(std::exchange(other.allocator, nullptr)), device(other.device), id(other.id) {}
  PoolName& operator=(PoolName&& other) noexcept {
    allocator = std::exchange(other.allocator, nullptr);
    device = other.device;
    id = other.id;
    return *this;
  }
  ~PoolName() = default;
};

}  // namespace detail

/// While it lives, the allocations that its filter accepts go to a pool. Scopes nest: the innermost that accepts wins.
class PoolScope {
 public:
  /// Whether an allocation on `stream` by the calling thread goes to the pool. Must not throw.
  using Filter = std::function<bool(Stream stream)>;

  PoolScope() noexcept = default;
  PoolScope(PoolScope&&) noexcept = default;
  PoolScope& operator=(PoolScope other) noexcept {
    std::swap(pool_, other.pool_);
    return *this;
  }
  ~PoolScope() { reset(); }

  [[nodiscard]] static Result<PoolScope> try_make(gapless_allocator* allocator, int device, PoolId id, Filter filter) {
    auto kept = std::make_unique<Filter>(std::move(filter));
    const gapless_status status = gapless_pool_begin(
        allocator, device, id,
        [](void* user, gapless_stream stream) noexcept -> int32_t {
          return (*static_cast<Filter*>(user))(stream) ? 1 : 0;
        },
        kept.get(), [](void* user) noexcept { delete static_cast<Filter*>(user); });
    if (status != GAPLESS_OK) return detail::failure_of(status);
    // From here on gapless owns the filter: another thread may be inside it when the scope ends.
    static_cast<void>(kept.release());
    PoolScope scope;
    scope.pool_ = {allocator, device, id};
    return Result<PoolScope>(std::move(scope));
  }

  /// Ends the scope now.
  void reset() noexcept {
    if (pool_.allocator == nullptr) return;
    static_cast<void>(gapless_pool_end(pool_.allocator, pool_.device, pool_.id));
    // Beginning took a use of the pool.
    static_cast<void>(gapless_pool_release(std::exchange(pool_.allocator, nullptr), pool_.device, pool_.id));
  }

 private:
  detail::PoolName pool_;
};

/// Holds one use of a pool. When the last use of a pool has gone, its memory is given back as its blocks die.
class Pool {
 public:
  Pool() noexcept = default;
  Pool(Pool&&) noexcept = default;
  Pool& operator=(Pool other) noexcept {
    std::swap(pool_, other.pool_);
    return *this;
  }
  ~Pool() { reset(); }

  /// An id that no other Pool of the process has, and none that PyTorch makes (it counts up from 1).
  [[nodiscard]] static PoolId unique_id() noexcept {
    static std::atomic<std::uint32_t> counter{0};
    // Each shared library may have its own counter (hidden visibility), so the counter's address is part of the id.
    const auto home = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&counter) >> 2) & 0x7fffffffU;
    return PoolId{0, (std::uint64_t{1} << 63) | (home << 32) | counter.fetch_add(1, std::memory_order_relaxed)};
  }

  /// Makes the pool `id`, or takes a use of the one that exists. See Device::make_pool.
  [[nodiscard]] static Result<Pool> try_make(gapless_allocator* allocator, int device, PoolId id) noexcept {
    return made(gapless_pool_create(allocator, device, id, nullptr), allocator, device, id);
  }
  /// The same, with segments from `source`, which lives until the pool has returned its last segment.
  [[nodiscard]] static Result<Pool> try_make(gapless_allocator* allocator, int device, PoolId id,
                                             SegmentSource source) {
    auto kept = std::make_unique<SegmentSource>(std::move(source));
    gapless_segment_source plain = GAPLESS_STRUCT(gapless_segment_source);
    plain.user = kept.get();
    plain.allocate = [](void* user, int32_t on, gapless_stream stream, std::size_t bytes) noexcept -> void* {
      return static_cast<SegmentSource*>(user)->allocate(on, stream, bytes);
    };
    plain.deallocate = [](void* user, int32_t on, void* segment, std::size_t bytes) noexcept {
      static_cast<SegmentSource*>(user)->deallocate(on, segment, bytes);
    };
    plain.destroy = [](void* user) noexcept { delete static_cast<SegmentSource*>(user); };
    Result<Pool> pool = made(gapless_pool_create(allocator, device, id, &plain), allocator, device, id);
    if (pool) static_cast<void>(kept.release());
    return pool;
  }

  [[nodiscard]] PoolId id() const noexcept { return pool_.id; }
  explicit operator bool() const noexcept { return pool_.allocator != nullptr; }

  /// Gives the use back now.
  void reset() noexcept {
    if (pool_.allocator != nullptr) {
      static_cast<void>(gapless_pool_release(std::exchange(pool_.allocator, nullptr), pool_.device, pool_.id));
    }
  }

  ///@{
  /// Sends the calling thread's allocations on this device, on any stream, to the pool.
  [[nodiscard]] Result<PoolScope> try_scope() const {
    return try_scope([owner = std::this_thread::get_id()](Stream) { return std::this_thread::get_id() == owner; });
  }
  [[nodiscard]] PoolScope scope() const { return try_scope().value(); }
  /// Sends what `filter` accepts to the pool, on whatever thread.
  [[nodiscard]] Result<PoolScope> try_scope(PoolScope::Filter filter) const {
    return PoolScope::try_make(pool_.allocator, pool_.device, pool_.id, std::move(filter));
  }
  [[nodiscard]] PoolScope scope(PoolScope::Filter filter) const { return try_scope(std::move(filter)).value(); }
  ///@}

  ///@{
  /// Uses held of this pool: its Pool objects and open scopes.
  [[nodiscard]] Result<int> try_use_count() const noexcept {
    std::int32_t count = 0;
    const gapless_status status = gapless_pool_use_count(pool_.allocator, pool_.device, pool_.id, &count);
    return detail::result_of<int>(status, count);
  }
  [[nodiscard]] int use_count() const { return try_use_count().value(); }
  ///@}

  ///@{
  /// Whether other pools may take this pool's free memory before a request of theirs fails.
  Result<void> try_set_use_on_oom(bool on) noexcept { return try_set_flag(GAPLESS_POOL_USE_ON_OOM, on); }
  void set_use_on_oom(bool on) { try_set_use_on_oom(on).value(); }
  /// Whether blocks of the pool stay whole.
  Result<void> try_set_no_split(bool on) noexcept { return try_set_flag(GAPLESS_POOL_NO_SPLIT, on); }
  void set_no_split(bool on) { try_set_no_split(on).value(); }
  ///@}

  ///@{
  /// Waits for pending uses, then releases the pool's idle physical memory until at most `keep` bytes stay; returns the
  /// bytes released.
  Result<std::size_t> try_trim(std::size_t keep = 0) noexcept {
    std::size_t released = 0;
    const gapless_status status = gapless_trim(pool_.allocator, pool_.device, pool_.id, keep, &released);
    return detail::result_of(status, released);
  }
  std::size_t trim(std::size_t keep = 0) { return try_trim(keep).value(); }
  ///@}

  ///@{
  /// Addresses of the pool's live blocks, ascending.
  [[nodiscard]] Result<std::vector<void*>> try_live_blocks() const {
    std::vector<void*> addresses;
    std::size_t count = 0;
    // Another thread may allocate between the two calls; ask again until all fit.
    do {
      addresses.resize(count);
      const gapless_status status =
          gapless_pool_live_blocks(pool_.allocator, pool_.device, pool_.id, addresses.data(), addresses.size(), &count);
      if (status != GAPLESS_OK) return detail::failure_of(status);
    } while (count > addresses.size());
    addresses.resize(count);
    return Result<std::vector<void*>>(std::move(addresses));
  }
  [[nodiscard]] std::vector<void*> live_blocks() const { return try_live_blocks().value(); }
  ///@}

  ///@{
  /// Keeps the pool's layout. Restoring frees what is live then, and makes live again what was live now, at the same
  /// addresses; `freed` and `allocated` (either may be empty) see each address.
  [[nodiscard]] Result<Checkpoint> try_checkpoint() const noexcept {
    gapless_checkpoint* handle = nullptr;
    const gapless_status status = gapless_pool_checkpoint(pool_.allocator, pool_.device, pool_.id, &handle);
    if (status != GAPLESS_OK) return detail::failure_of(status);
    return Checkpoint(handle);
  }
  [[nodiscard]] Checkpoint checkpoint() const { return try_checkpoint().value(); }

  using AddressVisitor = std::function<void(void* address)>;
  Result<void> try_restore(const Checkpoint& checkpoint, const AddressVisitor& freed = {},
                           const AddressVisitor& allocated = {}) noexcept {
    struct Visitors {
      const AddressVisitor& freed;
      const AddressVisitor& allocated;
    } visitors{freed, allocated};
    return detail::result_of(gapless_pool_restore(
        pool_.allocator, pool_.device, checkpoint.handle(), &visitors,
        [](void* user, void* address) noexcept {
          if (const auto& visit = static_cast<Visitors*>(user)->freed) visit(address);
        },
        [](void* user, void* address) noexcept {
          if (const auto& visit = static_cast<Visitors*>(user)->allocated) visit(address);
        }));
  }
  void restore(const Checkpoint& checkpoint, const AddressVisitor& freed = {}, const AddressVisitor& allocated = {}) {
    try_restore(checkpoint, freed, allocated).value();
  }
  ///@}

 private:
  static Result<Pool> made(gapless_status status, gapless_allocator* allocator, int device, PoolId id) noexcept {
    if (status != GAPLESS_OK) return detail::failure_of(status);
    Pool pool;
    pool.pool_ = {allocator, device, id};
    return Result<Pool>(std::move(pool));
  }
  Result<void> try_set_flag(std::uint32_t flag, bool on) noexcept {
    return detail::result_of(gapless_pool_set_flag(pool_.allocator, pool_.device, pool_.id, flag, on ? 1 : 0));
  }

  detail::PoolName pool_;
};

}  // namespace gapless

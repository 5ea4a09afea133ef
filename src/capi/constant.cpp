// SPDX-License-Identifier: Apache-2.0
// Constant buffers and padding.
#include <memory>

#include "capi/on_device.hpp"
#include "capi/structs.hpp"
#include "constant/padding.hpp"

using gapless::Status;
using gapless::capi::bad_struct;
using gapless::capi::fenced;
using gapless::capi::null_argument;
using gapless::constant::BufferPool;

struct gapless_constant_pool {
  gapless_allocator* allocator;
  BufferPool buffers;
};

namespace {

template <typename Call>
gapless_status on_pool(gapless_constant_pool* pool, Call&& call) noexcept {
  return fenced([&]() -> Status { return pool == nullptr ? null_argument("pool") : call(pool->buffers); });
}

// Checked here as far as it needs no look at lengths.
Status read_batch(const gapless_ragged_batch* from, gapless_ragged_batch& to) {
  if (!gapless::capi::read_struct(from, to)) return bad_struct();
  if (to.count < 0) return gapless::base::fail(Status::invalid_argument, "count is negative");
  return Status::ok;
}

// Buffers that nobody leases go back before a request of their device is given up.
gapless_oom_answer give_idle_buffers(void* user, const gapless_oom_record* record) {
  auto* const pool = static_cast<gapless_constant_pool*>(user);
  if (record->device != pool->buffers.device()) return GAPLESS_OOM_GIVE_UP;
  std::uint64_t bytes = 0;
  static_cast<void>(pool->buffers.trim(bytes));
  return bytes > 0 ? GAPLESS_OOM_TRY_AGAIN : GAPLESS_OOM_GIVE_UP;
}

}  // namespace

extern "C" {

gapless_status gapless_constant_pool_create(gapless_allocator* allocator, const gapless_constant_pool_args* args,
                                            gapless_constant_pool** out) {
  gapless_constant_pool_args given{};
  if (args != nullptr && !gapless::capi::read_struct(args, given)) return fenced([] { return bad_struct(); });
  return gapless::capi::on_device(allocator, given.device, [&](gapless::engine::DeviceAllocator&) {
    if (out == nullptr) return null_argument("out");
    const std::uint32_t depth = given.depth != 0 ? given.depth : 2;
    const std::uint32_t most = given.most != 0 ? given.most : depth;
    if (most < depth) return gapless::base::fail(Status::invalid_argument, "most is below depth");
    auto fresh = std::unique_ptr<gapless_constant_pool>(new gapless_constant_pool{
        allocator, BufferPool(*allocator->engine, allocator->constant_lock, given.device, depth, most)});
    allocator->oom_hooks.add_giver(give_idle_buffers, fresh.get());
    *out = fresh.release();
    allocator->constant_pools.fetch_add(1, std::memory_order_relaxed);
    return Status::ok;
  });
}

gapless_status gapless_constant_pool_destroy(gapless_constant_pool* pool) {
  return fenced([&] {
    if (pool == nullptr) return Status::ok;
    gapless::capi::OomHooks& hooks = pool->allocator->oom_hooks;
    static_cast<void>(hooks.remove(give_idle_buffers, pool));  // no thread is in it any more
    if (const Status status = pool->buffers.close(); status != Status::ok) {
      hooks.add_giver(give_idle_buffers, pool);
      return status;
    }
    pool->allocator->constant_pools.fetch_sub(1, std::memory_order_relaxed);
    delete pool;
    return Status::ok;
  });
}

gapless_status gapless_constant_acquire(gapless_constant_pool* pool, uint64_t shape_class, size_t bytes,
                                        gapless_stream stream, gapless_lease* out) {
  return on_pool(pool, [&](BufferPool& buffers) {
    if (out == nullptr || out->struct_size < sizeof out->struct_size) return bad_struct();
    gapless::constant::Lease lease{};
    const Status status = buffers.acquire(shape_class, bytes, stream, lease);
    if (status != Status::ok) return status;
    gapless::capi::write_struct(gapless_lease{0, lease.address, lease.bytes, lease.ticket}, out);
    return Status::ok;
  });
}

gapless_status gapless_constant_pass(gapless_constant_pool* pool, uint64_t ticket, gapless_stream stream) {
  return on_pool(pool, [&](BufferPool& buffers) { return buffers.pass(ticket, stream); });
}

gapless_status gapless_constant_release(gapless_constant_pool* pool, uint64_t ticket) {
  return on_pool(pool, [&](BufferPool& buffers) { return buffers.release(ticket); });
}

gapless_status gapless_constant_reserve(gapless_constant_pool* pool, uint64_t shape_class, size_t bytes,
                                        gapless_stream stream) {
  return on_pool(pool, [&](BufferPool& buffers) { return buffers.reserve(shape_class, bytes, stream); });
}

gapless_status gapless_constant_trim(gapless_constant_pool* pool, size_t* released) {
  return on_pool(pool, [&](BufferPool& buffers) {
    std::uint64_t bytes = 0;
    const Status status = buffers.trim(bytes);
    if (status == Status::ok && released != nullptr) *released = bytes;
    return status;
  });
}

gapless_status gapless_constant_get_stats(gapless_constant_pool* pool, gapless_constant_stats* out) {
  return on_pool(pool, [&](BufferPool& buffers) {
    gapless_constant_stats stats{};
    buffers.read_stats(stats);
    return gapless::capi::write_struct(stats, out) ? Status::ok : bad_struct();
  });
}

gapless_status gapless_pad(gapless_constant_pool* pool, const gapless_ragged_batch* batch, gapless_stream stream,
                           gapless_padded_batch* out, gapless_pad_error* error) {
  return on_pool(pool, [&](BufferPool& buffers) {
    gapless_ragged_batch given{};
    if (const Status status = read_batch(batch, given); status != Status::ok) return status;
    if (out == nullptr || out->struct_size < sizeof out->struct_size) return bad_struct();
    gapless_padded_batch padded{};
    const Status status = gapless::constant::pad(buffers, given, stream, padded, error);
    if (status == Status::ok) gapless::capi::write_struct(padded, out);
    return status;
  });
}

gapless_status gapless_pad_reserve(gapless_constant_pool* pool, const gapless_ragged_batch* batch, int64_t longest,
                                   gapless_stream stream) {
  return on_pool(pool, [&](BufferPool& buffers) {
    gapless_ragged_batch given{};
    if (const Status status = read_batch(batch, given); status != Status::ok) return status;
    return gapless::constant::reserve(buffers, given, longest, stream);
  });
}

}  // extern "C"

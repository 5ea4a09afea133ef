// SPDX-License-Identifier: Apache-2.0
// Machine: kernels, copies and fills.
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "driver/sim/core.hpp"
#include "driver/sim/machine.hpp"

namespace gapless::driver::sim {

Result Machine::submit(int device, Stream stream, const Operation& operation) {
  Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  if (operation.kernel && state->device != device &&
      core_->common.violate("STR-2", text("%s is launched on stream %u of device %d while device %d is current",
                                          operation.name, state->id, state->device, device))) {
    return code::invalid_handle;
  }
  return core_->submit(lock, *state, operation);
}

bool Machine::Core::is_pinned(const void* address, std::size_t bytes) const {
  auto it = pinned.upper_bound(address);
  if (it == pinned.begin()) return false;
  --it;
  return bytes != 0 && range_within(handle_bits(address), bytes, handle_bits(it->first), it->second);
}

int Machine::Core::owner_of(Address address, int otherwise) const {
  Address base = 0;
  const Region* region = memory.find(address, base);
  return region != nullptr ? region->device : otherwise;
}

namespace {

struct Side {
  bool on_device = false;
  bool pageable = false;
};

// Row by row, dropping what the configuration says not to keep.
void move_bytes(Memory& memory, const Config& config, const Machine::Copy& copy, Side to, Side from) {
  for (std::size_t row = 0; row < copy.rows; ++row) {
    auto* out = static_cast<char*>(copy.to) + row * copy.to_pitch;
    const auto* in = static_cast<const char*>(copy.from) + row * copy.from_pitch;
    const bool keep = config.data && copy.bytes <= config.data_max &&
                      (!to.on_device || memory.readable(handle_bits(out), copy.bytes)) &&
                      (!from.on_device || memory.readable(handle_bits(in), copy.bytes));
    if (keep || (!to.on_device && !from.on_device)) {
      std::memmove(out, in, copy.bytes);
    } else if (!to.on_device) {
      std::memset(out, 0, copy.bytes);  // the device keeps no bytes: zeros, so that runs agree
    }
  }
}

}  // namespace

Result Machine::copy(int device, Stream stream, const Copy& copy) {
  Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  if (copy.bytes == 0 || copy.rows == 0) return Result::ok;
  if (copy.to == nullptr || copy.from == nullptr) return Result::invalid_value;
  if (copy.synchronous) {
    if (const Result result = core_->safe_in_capture(copy.name); result != Result::ok) return result;
  }

  const auto side = [&](const void* address) {
    Side s;
    s.on_device = is_device_address(handle_bits(address));
    s.pageable = !s.on_device && !core_->is_pinned(address);
    return s;
  };
  const Side to = side(copy.to);
  const Side from = side(copy.from);
  const bool capturing = core_->capture_of(*state) != nullptr;

  std::vector<Access> accesses;
  for (std::size_t row = 0; core_->strict() && row < copy.rows; ++row) {
    const Address in = handle_bits(copy.from) + row * copy.from_pitch;
    const Address out = handle_bits(copy.to) + row * copy.to_pitch;
    // Each side with its own device's rights: a copy between devices needs no peer access.
    if (from.on_device) accesses.push_back({in, copy.bytes, false, core_->owner_of(in, device)});
    if (to.on_device) accesses.push_back({out, copy.bytes, true, core_->owner_of(out, device)});
  }

  Operation operation;
  operation.name = copy.name;
  operation.kind = NodeKind::copy;
  operation.accesses = accesses;
  Memory& memory = core_->memory;
  const Config& config = core_->common.config;
  if (!to.on_device || config.data) {
    Copy moved = copy;
    // Pageable source: the call returns when the bytes have been staged, so the caller may change them at once.
    std::shared_ptr<std::vector<char>> staged;
    if (to.on_device && from.pageable && !capturing && copy.bytes <= config.data_max) {
      staged = std::make_shared<std::vector<char>>(copy.bytes * copy.rows);
      for (std::size_t row = 0; row < copy.rows; ++row) {
        std::memcpy(staged->data() + row * copy.bytes, static_cast<const char*>(copy.from) + row * copy.from_pitch,
                    copy.bytes);
      }
      moved.from = staged->data();
      moved.from_pitch = copy.bytes;
    }
    operation.body = [&memory, &config, moved, to, from, staged] { move_bytes(memory, config, moved, to, from); };
  }
  if (const Result result = core_->usable(*state); result != Result::ok) return result;
  // cuMemcpyPeer is "serialized with respect to all pending and future asynchronous work" of both devices.
  std::vector<StreamState*> peers;
  for (const int peer : copy.peers) {
    if (peer == state->device || capturing) continue;
    StreamState& legacy = core_->legacy(peer);
    if (const Result result = core_->device_state(peer); result != Result::ok) return result;
    if (const Result result = core_->usable(legacy); result != Result::ok) return result;
    peers.push_back(&legacy);
  }
  const auto order = [&](StreamState& later, StreamState& earlier) {
    core_->enqueue_marker(earlier, nullptr, nullptr);
    const Position end{earlier.id, earlier.issued};
    core_->enqueue_marker(later, &end, core_->strict() ? &earlier.clock : nullptr);
  };
  for (StreamState* peer : peers) order(*state, *peer);
  // NVIDIA's "API synchronization behavior": a synchronous copy from pageable memory waits for the stream, and returns
  // when its source is staged; "the DMA to final destination may not have completed".
  const bool staged_only = copy.synchronous && to.on_device && from.pageable;
  const Clock before = core_->strict() && staged_only ? state->clock : Clock{};
  if (const Result result = core_->submit(lock, *state, operation); result != Result::ok) return result;

  for (StreamState* peer : peers) order(*peer, *state);
  const bool waits = (copy.synchronous && (!to.on_device || !from.on_device)) || to.pageable;
  if (!waits || capturing) return Result::ok;
  // An asynchronous copy to pageable memory "might be synchronous": it is, and whoever relies on that is reported.
  if (staged_only || (!copy.synchronous && from.on_device)) {
    core_->scheduler.finish(lock, {state->id, state->issued});
    if (core_->strict()) core_->threads.clock().join(before);
    core_->trim_pools_on_synchronize(state->device);
  } else {
    core_->finish_and_learn(lock, *state);
  }
  const Result sticky = core_->sticky[static_cast<std::size_t>(state->device)];
  core_->synchronised(lock, static_cast<int>(state->id));
  return sticky;
}

Result Machine::fill(int device, Stream stream, const Fill& fill) {
  Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  std::size_t row_bytes = 0;
  if (__builtin_mul_overflow(fill.elements, fill.width, &row_bytes)) return Result::invalid_value;
  if (row_bytes == 0 || fill.rows == 0) return Result::ok;
  std::size_t all_bytes = 0;  // to the end of the last row
  if (__builtin_mul_overflow(fill.rows - 1, fill.pitch, &all_bytes) ||
      __builtin_add_overflow(all_bytes, row_bytes, &all_bytes)) {
    return Result::invalid_value;
  }
  const bool on_device = is_device_address(fill.to);
  // A device fills its own memory and the host's that it was shown.
  if (!on_device && !core_->is_pinned(as_handle(fill.to), all_bytes)) return Result::invalid_value;

  std::vector<Access> accesses;
  for (std::size_t row = 0; core_->strict() && on_device && row < fill.rows; ++row) {
    accesses.push_back({fill.to + row * fill.pitch, row_bytes, true, -1});
  }
  Operation operation;
  operation.name = fill.name;
  operation.kind = fill.kind;
  operation.accesses = accesses;
  Memory& memory = core_->memory;
  const Config& config = core_->common.config;
  if (!on_device || (config.data && row_bytes <= config.data_max)) {
    operation.body = [&memory, fill, row_bytes, on_device] {
      for (std::size_t row = 0; row < fill.rows; ++row) {
        const Address at = fill.to + row * fill.pitch;
        if (on_device && !memory.readable(at, row_bytes)) continue;
        auto* out = static_cast<char*>(as_handle(at));
        for (std::size_t i = 0; i < fill.elements; ++i) std::memcpy(out + i * fill.width, &fill.value, fill.width);
      }
    };
  }
  return core_->submit(lock, *state, operation);
}

}  // namespace gapless::driver::sim

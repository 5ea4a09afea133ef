// SPDX-License-Identifier: Apache-2.0
// How work gets its place in stream order.
#include "driver/sim/core.hpp"

#include <algorithm>
#include <atomic>

namespace gapless::driver::sim {

namespace {

std::atomic<int> machines = 0;  // of this process, so far

}  // namespace

Machine::Core::Core(const Config& config)
    : number(++machines),
      common(config),
      memory(common),
      scheduler(common),
      threads(config.threads_separate),
      sticky(static_cast<std::size_t>(config.devices), Result::ok),
      blocking_streams(static_cast<std::size_t>(config.devices)) {
  for (int device = 0; device < config.devices; ++device)
    scheduler.add_stream(device, {}, true, nullptr);  // stream id = device
}

Result Machine::Core::valid_device(int device) {
  if (device >= 0 && device < common.config.devices) return Result::ok;
  common.violate("DEV-1", text("device %d of %d", device, common.config.devices));
  return Result::invalid_device;
}

Result Machine::Core::refuse_in_host_function(const char* call) {
  const bool refused = common.violate("HOST-1", text("%s inside a host function or a kernel's body", call));
  return refused ? code::not_permitted : Result::ok;
}

Result Machine::Core::host_state() {
  return HostFunctionScope::active() ? refuse_in_host_function("a call") : Result::ok;
}

Result Machine::Core::device_state(int device) {
  if (const Result result = valid_device(device); result != Result::ok) return result;
  if (const Result result = host_state(); result != Result::ok) return result;
  const Result error = sticky[static_cast<std::size_t>(device)];
  if (error == Result::ok) return error;
  const bool refused = common.violate(
      "ERR-1", text("device %d is used after error %d, which is final", device, static_cast<int>(error)));
  return refused ? error : Result::ok;
}

Result Machine::Core::handle_state(Handle handle) {
  const Backing* backing = memory.held(handle);
  return backing != nullptr ? device_state(backing->device) : host_state();
}

Result Machine::Core::range_state(Address base) {
  Address start = 0;
  const Region* region = memory.find(base, start);
  return region != nullptr ? device_state(region->device) : host_state();
}

Result Machine::Core::process_state() {
  for (int device = 0; device < common.config.devices; ++device) {
    if (const Result result = device_state(device); result != Result::ok) return result;
  }
  return Result::ok;
}

Result Machine::Core::use_stream(int device, Stream stream, StreamState*& out) {
  if (const Result result = device_state(device); result != Result::ok) return result;
  out = resolve(device, stream);
  if (out == nullptr) return code::invalid_handle;
  return out->device == device ? Result::ok : device_state(out->device);
}

std::uint32_t Machine::Core::add_stream(int device, StreamFlags flags) {
  const Clock* const known = common.config.threads_separate ? nullptr : this->known();
  const std::uint32_t id = scheduler.add_stream(device, flags, false, known);
  for (std::vector<std::uint32_t>& blocking : blocking_streams) std::erase(blocking, id);  // ids are given out again
  if (!flags.non_blocking) blocking_streams[static_cast<std::size_t>(device)].push_back(id);
  return id;
}

StreamState* Machine::Core::resolve(int device, Stream stream) {
  if (stream == nullptr || stream == kLegacyStream) return &legacy(device);
  if (stream == kPerThreadStream) {
    std::vector<std::uint32_t>& mine = threads.current().default_streams;
    mine.resize(static_cast<std::size_t>(common.config.devices));
    std::uint32_t& id = mine[static_cast<std::size_t>(device)];
    if (id == 0) {
      for (const std::uint32_t left : threads.take_left_streams()) {
        if (left != 0) scheduler.retire_stream(left - 1);
      }
      id = add_stream(device, {}) + 1;
    }
    return &scheduler.stream(id - 1);
  }
  if (const std::uint32_t* id = stream_handles.find(handle_bits(stream))) return &scheduler.stream(*id);
  common.violate("STR-1", text("0x%llx is not a live stream", ull(handle_bits(stream))));
  return nullptr;
}

EventState* Machine::Core::event(Event event, const char* call) {
  EventState* state = events.find(handle_bits(event));
  if (state == nullptr)
    common.violate("EVT-1", text("%s of 0x%llx, which is not a live event", call, ull(handle_bits(event))));
  return state;
}

void Machine::Core::enqueue_marker(StreamState& stream, const Position* wait, const Clock* clock) {
  StreamState::Pending pending;
  if (wait != nullptr && !scheduler.complete(*wait)) pending.waits.push_back(*wait);
  if (clock != nullptr) stream.clock.join(*clock);
  enqueue(stream.device, stream, {}, std::move(pending));
}

void Machine::Core::learn_implicit(StreamState& stream) {
  stream.clock.join(threads.clock());
  for_each_implicit(stream, [&](const StreamState& other) { stream.clock.join(other.clock); });
}

void Machine::Core::enqueue(int device, StreamState& stream, const Operation& operation, StreamState::Pending pending) {
  const auto order_after = [&](const StreamState& other) {
    if (strict()) stream.clock.join(other.clock);
    if (other.done < other.issued) pending.waits.push_back({other.id, other.issued});
  };
  if (stream.legacy) {
    std::vector<std::uint32_t>& blocking = blocking_streams[static_cast<std::size_t>(stream.device)];
    for (const std::uint32_t id : blocking) order_after(scheduler.stream(id));
    // What follows this operation follows them: destroyed ones, which get no more work, need not be asked again.
    std::erase_if(blocking, [&](std::uint32_t id) { return !scheduler.stream(id).alive; });
  } else if (!stream.flags.non_blocking) {
    order_after(legacy(stream.device));
  }

  bool harmless = true;
  if (strict()) {
    stream.clock.join(threads.clock());
    Use use;
    use.stream = stream.id;
    use.position = stream.issued + 1;
    use.operation = common.operations + 1;
    use.name = operation.name;
    for (const Access& access : operation.accesses) {
      // Devices reach pinned host memory at its own address. It is no device's: nothing is kept of who used it.
      if (!pinned.empty() && is_pinned(as_handle(access.base), access.bytes)) continue;
      const int by = access.device >= 0 ? access.device : device;
      if (!memory.check_access(by, access, use, stream.clock)) harmless = false;
    }
    stream.clock.set(stream.id, use.position);
    if (!harmless && common.config.sticky) sticky[static_cast<std::size_t>(device)] = Result::illegal_address;
  }
  if (!operation.body && pending.waits.empty()) {
    scheduler.submit(stream);
    return;
  }
  if (operation.body && harmless) pending.body = operation.body;
  pending.host_function = operation.host_function && pending.body;
  scheduler.submit(stream, std::move(pending));
}

Result Machine::Core::submit(Lock& lock, StreamState& stream, const Operation& operation) {
  if (const Result result = usable(stream); result != Result::ok) return result;
  if (Capture* capture = capture_of(stream)) {
    capture->work(stream.id, stream.device, operation);
    return Result::ok;
  }
  enqueue(stream.device, stream, operation, {});
  scheduler.tick(lock);
  return Result::ok;
}

void Machine::Core::finish_and_learn(Lock& lock, StreamState& stream) {
  // What the call waits for is what was there when it was made: while it waits, the lock is let go for host functions,
  // and others submit more.
  const Clock waited_for = strict() ? stream.clock : Clock{};
  scheduler.finish(lock, {stream.id, stream.issued});
  if (strict()) threads.clock().join(waited_for);
  trim_pools_on_synchronize(stream.device);
}

void Machine::Core::finish_device_and_learn(Lock& lock, int device) {
  Clock waited_for;
  if (strict()) {
    for (std::uint32_t id = 0; id < scheduler.stream_count(); ++id) {
      if (scheduler.stream(id).device == device) waited_for.join(scheduler.stream(id).clock);
    }
  }
  scheduler.finish_device(lock, device);
  if (strict()) threads.clock().join(waited_for);
  trim_pools_on_synchronize(device);
}

void Machine::Core::wait_before_free(Lock& lock, int device, bool orders) {
  if (orders) {
    finish_device_and_learn(lock, device);
  } else if (memory.host().data()) {
    scheduler.finish_device(lock, device);
  }
}

void Machine::Core::trim_pools_on_synchronize(int device) {
  const PoolStats& pool = memory.pool(device);
  if (pool.reserved > pool.release_threshold) memory.pool_trim(device, pool.release_threshold);
}

void Machine::Core::synchronised(Lock& lock, int stream_id) {
  lock.unlock();
  if (auto* callback = on_synchronize.load(std::memory_order_relaxed)) callback(stream_id);
}

}  // namespace gapless::driver::sim

// SPDX-License-Identifier: Apache-2.0
#include "simcuda/driver/observer.hpp"

#include <atomic>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "simcuda/driver/api.hpp"
#include "simcuda/driver/tools.hpp"

using namespace gapless::simcuda;

namespace {

std::atomic<gapless_sim_observer> observer{nullptr};
std::atomic<void*> observer_user{nullptr};

// Events have no number of their own: they get one when first seen, so that logs of equal runs are equal although
// pointers differ.
std::mutex event_lock;
std::unordered_map<const void*, std::uint64_t>& event_numbers() {
  static auto* const numbers = new std::unordered_map<const void*, std::uint64_t>;  // as Process: never destroyed
  return *numbers;
}
std::uint64_t next_event_number = 1;

std::uint64_t event_number(const void* event, bool destroyed) {
  if (event == nullptr) return 0;
  const std::lock_guard<std::mutex> guard(event_lock);
  const auto [entry, added] = event_numbers().try_emplace(event, next_event_number);
  if (added) ++next_event_number;
  const std::uint64_t number = entry->second;
  if (destroyed) event_numbers().erase(entry);
  return number;
}

std::uint64_t stream_number(const Seen& seen) {
  if (!seen.has_stream) return 0;
  sim::StreamFlags flags;
  int device = 0;
  std::uint64_t id = 0;
  Machine* const m = machine();
  if (m != nullptr) (void)m->stream_info(seen.device, const_cast<void*>(seen.stream), flags, device, id);
  return id;
}

}  // namespace

namespace gapless::simcuda {

bool observing() noexcept {
  return observer.load(std::memory_order_relaxed) != nullptr;
}

void report(const char* function, driver::Result result, const Seen& seen) {
  const gapless_sim_observer callback = observer.load(std::memory_order_acquire);
  if (callback == nullptr) return;
  gapless_sim_call call{};
  call.struct_size = sizeof call;
  call.function = function;
  call.result = static_cast<int>(result);
  call.device = seen.device;
  call.address = seen.address;
  call.bytes = seen.bytes;
  call.handle = seen.handle;
  call.stream = stream_number(seen);
  call.event = event_number(seen.event, std::string_view(function) == "cuEventDestroy");
  callback(observer_user.load(std::memory_order_relaxed), &call);
}

}  // namespace gapless::simcuda

void gapless_sim_set_observer(gapless_sim_observer callback, void* user) {
  observer.store(nullptr, std::memory_order_release);
  observer_user.store(user, std::memory_order_relaxed);
  observer.store(callback, std::memory_order_release);
}

int gapless_sim_access(int device, void* stream, uint64_t address, size_t bytes, int write) {
  Machine* const m = machine();
  if (m == nullptr || device < 0 || device >= m->device_count()) {
    return tool_error(CUDA_ERROR_INVALID_DEVICE, "gapless_sim_access: no such device");
  }
  const sim::Access access{address, bytes, write != 0};
  const Result result = m->submit(device, resolve_stream(static_cast<CUstream>(stream)),
                                  {.name = write != 0 ? "gapless_sim_access (write)" : "gapless_sim_access (read)",
                                   .accesses = {&access, 1},
                                   .body = {}});
  if (result == Result::ok) return 0;
  return tool_error(static_cast<int>(result), "gapless_sim_access: error " + std::to_string(static_cast<int>(result)));
}

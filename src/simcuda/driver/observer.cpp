// SPDX-License-Identifier: Apache-2.0
#include "simcuda/driver/observer.hpp"

#include <unistd.h>

#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
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
  Machine* const m = machine();
  return m == nullptr ? 0 : m->stream_number(seen.device, const_cast<void*>(seen.stream));
}

// GAPLESS_SIM_LOG: one line a call. The process that gapless-sim started writes FILE, every other one FILE.PID: it has
// a device of its own.
std::FILE* open_log() {
  const char* const wanted = std::getenv("GAPLESS_SIM_LOG");
  const char* const main_process = std::getenv("GAPLESS_SIM_MAIN_PID");
  if (wanted == nullptr || *wanted == '\0') return nullptr;
  const std::string own = std::to_string(::getpid());
  const std::string path = main_process != nullptr && own != main_process ? wanted + ("." + own) : wanted;
  std::FILE* const log = std::fopen(path.c_str(), "w");
  if (log == nullptr) {
    std::fprintf(stderr, "gapless-sim: cannot write %s\n", path.c_str());
    return nullptr;
  }
  std::setvbuf(log, nullptr, _IOLBF, 0);  // a forked child must not write what it inherited
  std::fputs("# function result device address bytes handle stream event\n", log);
  return log;
}

std::FILE* call_log() {
  static std::FILE* const log = open_log();  // closed by exit
  return log;
}

void write_line(std::FILE* log, const gapless_sim_call& call) {
  // One write of the C library is one line, also from many threads.
  std::fprintf(log, "%s %d %d %#" PRIx64 " %" PRIu64 " %#" PRIx64 " %" PRIu64 " %" PRIu64 "\n", call.function,
               call.result, call.device, call.address, call.bytes, call.handle, call.stream, call.event);
}

}  // namespace

namespace gapless::simcuda {

bool observing() noexcept {
  static const bool logging = call_log() != nullptr;
  return logging || observer.load(std::memory_order_relaxed) != nullptr;
}

void report(const char* function, driver::Result result, const Seen& seen) {
  const gapless_sim_observer callback = observer.load(std::memory_order_acquire);
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
  if (std::FILE* const log = call_log()) write_line(log, call);
  if (callback != nullptr) callback(observer_user.load(std::memory_order_relaxed), &call);
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
  const sim::Access access{address, bytes, write != 0, device};
  const Result result = m->submit(device, resolve_stream(static_cast<CUstream>(stream)),
                                  {.name = write != 0 ? "gapless_sim_access (write)" : "gapless_sim_access (read)",
                                   .accesses = {&access, 1},
                                   .body = {}});
  if (result == Result::ok) return 0;
  return tool_error(static_cast<int>(result), "gapless_sim_access: error " + std::to_string(static_cast<int>(result)));
}

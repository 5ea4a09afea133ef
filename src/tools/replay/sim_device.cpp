// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/sim_device.hpp"

#include "tools/op.hpp"

namespace gapless::tools {
namespace {
constexpr const char* kHint = "the simulated device is built when the CUDA toolkit's headers are found";
constexpr unsigned kNonBlockingStream = 1;   // CU_STREAM_NON_BLOCKING: what torch.cuda.Stream makes
constexpr unsigned kEventWithoutTiming = 2;  // CU_EVENT_DISABLE_TIMING
}  // namespace

SimDevice::SimDevice(const Options& options, std::uint64_t size)
    : driver_(library_beside_program("simcuda/libcuda.so.1", kHint), true),
      runtime_(library_beside_program("simcuda/libcudart.so.13", kHint), true) {
  driver_.bind("gapless_sim_configure", configure_);
  driver_.bind("gapless_sim_last_error", last_error_);
  driver_.bind("gapless_sim_physical_bytes", physical_bytes_);
  driver_.bind("gapless_sim_physical_bytes_peak", physical_bytes_peak_);
  driver_.bind("gapless_sim_violations", violations_);
  driver_.bind("gapless_sim_visit_calls", visit_calls_);
  driver_.bind("gapless_sim_set_observer", set_observer_);
  driver_.bind("gapless_sim_advance", advance_);
  driver_.bind("gapless_sim_access", access_);
  driver_.bind("cuInit", init_);
  driver_.bind("cuDevicePrimaryCtxRetain", retain_context_);
  driver_.bind("cuCtxSetCurrent", set_context_);
  driver_.bind("cuCtxSynchronize", synchronize_context_);
  driver_.bind("cuStreamCreate", create_stream_);
  driver_.bind("cuStreamDestroy_v2", destroy_stream_);
  driver_.bind("cuStreamSynchronize", synchronize_stream_);
  driver_.bind("cuStreamWaitEvent", wait_event_);
  driver_.bind("cuEventCreate", create_event_);
  driver_.bind("cuEventRecord", record_event_);
  driver_.bind("cuEventDestroy_v2", destroy_event_);

  const std::string configuration = "size=" + std::to_string(size) +
                                    ",devices=1,other=0,seed=" + std::to_string(options.seed) +
                                    ",completion=" + options.completion + ",strict=" + (options.strict ? "1" : "0");
  if (configure_(configuration.c_str()) != 0) throw SetupError(std::string("simulated device: ") + last_error_());

  void* context = nullptr;
  check(init_(0), "cuInit");
  check(retain_context_(&context, 0), "cuDevicePrimaryCtxRetain");
  check(set_context_(context), "cuCtxSetCurrent");
  streams_[0] = nullptr;
}

void SimDevice::check(int result, const char* what) const {
  if (result != 0) {
    throw SetupError(std::string("simulated device: ") + what + ": error " + std::to_string(result) + " " +
                     last_error_());
  }
}

std::map<std::string, std::uint64_t> SimDevice::calls() const {
  std::map<std::string, std::uint64_t> counts;
  visit_calls_(
      [](void* user, const char* function, int kind, std::uint64_t calls) {
        if (kind == GAPLESS_SIM_DRIVER) (*static_cast<decltype(counts)*>(user))[function] += calls;
      },
      &counts);
  return counts;
}

void* SimDevice::stream(std::int32_t number) {
  const auto [entry, added] = streams_.try_emplace(number, nullptr);
  if (added) check(create_stream_(&entry->second, kNonBlockingStream), "cuStreamCreate");
  return entry->second;
}

void SimDevice::destroy_stream(std::int32_t number) {
  const auto entry = streams_.find(number);
  if (entry == streams_.end() || entry->second == nullptr) return;
  check(destroy_stream_(entry->second), "cuStreamDestroy");
  streams_.erase(entry);
}

void SimDevice::synchronize(std::int32_t number) {
  if (number == kEveryStream) {
    check(synchronize_context_(), "cuCtxSynchronize");
  } else {
    check(synchronize_stream_(stream(number)), "cuStreamSynchronize");
  }
}

void SimDevice::issue(std::uint64_t operations) {
  check(advance_(0, operations), "gapless_sim_advance");
}

void SimDevice::access(std::int32_t number, void* pointer, std::uint64_t bytes, bool write) {
  const auto address = reinterpret_cast<std::uint64_t>(pointer);
  check(access_(0, stream(number), address, bytes, write ? 1 : 0), "gapless_sim_access");
}

void SimDevice::order(std::int32_t waiter, std::int32_t source) {
  void* event = nullptr;
  check(create_event_(&event, kEventWithoutTiming), "cuEventCreate");
  check(record_event_(event, stream(source)), "cuEventRecord");
  check(wait_event_(stream(waiter), event, 0), "cuStreamWaitEvent");
  check(destroy_event_(event), "cuEventDestroy");
}

}  // namespace gapless::tools

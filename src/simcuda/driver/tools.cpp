// SPDX-License-Identifier: Apache-2.0
// gapless_sim.h, but for the counters (statistics.cpp) and the kernel bodies (launch.cpp).
#include "simcuda/driver/tools.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "simcuda/driver/api.hpp"
#include "simcuda/driver/statistics.hpp"

namespace gapless::simcuda {
namespace {

std::string& error_slot() {
  thread_local std::string text;
  return text;
}

bool valid(Machine* m, int device) {
  return m != nullptr && device >= 0 && device < m->device_count();
}

// Tools may drive the machine before the first CUDA call.
Machine* machine_for_tools() {
  return initialise() == 0 ? machine() : nullptr;
}

int finish(const char* function, Result result) {
  if (result == Result::ok) return 0;
  const char* name = nullptr;
  cuGetErrorName(to_cuda(result), &name);
  return tool_error(static_cast<int>(result),
                    std::string(function) + ": " + (name != nullptr ? name : "unknown error"));
}

int no_device(const char* function, int device) {
  return tool_error(CUDA_ERROR_INVALID_DEVICE,
                    std::string(function) + ": no simulated device " + std::to_string(device));
}

}  // namespace

int tool_error(int code, const std::string& text) {
  error_slot() = text;
  return code;
}

}  // namespace gapless::simcuda

using namespace gapless::simcuda;

const char* gapless_sim_last_error(void) {
  return error_slot().c_str();
}

int gapless_sim_configure(const char* options) {
  std::string why;
  const int result = configure(options, why);
  return result == 0 ? 0 : tool_error(result, "gapless_sim_configure: " + why);
}

uint64_t gapless_sim_physical_bytes(int device) {
  Machine* m = machine();
  return valid(m, device) ? m->physical_bytes(device) : 0;
}

uint64_t gapless_sim_physical_bytes_peak(int device) {
  Machine* m = machine();
  return valid(m, device) ? m->physical_bytes_peak(device) : 0;
}

uint64_t gapless_sim_violations(void) {
  Machine* m = machine();
  return m != nullptr ? m->violation_count() : 0;
}

size_t gapless_sim_stats_json(char* buffer, size_t capacity) {
  const std::string text = statistics_json();
  if (buffer != nullptr && capacity != 0) {
    const std::size_t length = std::min(text.size(), capacity - 1);
    std::memcpy(buffer, text.data(), length);
    buffer[length] = '\0';
  }
  return text.size();
}

int gapless_sim_write_stats(const char* path) {
  if (path == nullptr || !write_statistics(path)) {
    return tool_error(CUDA_ERROR_OPERATING_SYSTEM, std::string("gapless_sim_write_stats: cannot write ") +
                                                       (path != nullptr ? path : "(null)") + ": " +
                                                       std::strerror(errno));
  }
  return 0;
}

int gapless_sim_issue(int device, void* stream, uint64_t operations) {
  Machine* m = machine_for_tools();
  if (!valid(m, device)) return no_device("gapless_sim_issue", device);
  for (uint64_t index = 0; index < operations; ++index) {
    const Result result =
        m->submit(device, resolve_stream(stream), {.name = "gapless_sim_issue", .accesses = {}, .body = {}});
    if (result != Result::ok) return finish("gapless_sim_issue", result);
  }
  return 0;
}

int gapless_sim_advance(int device, uint64_t operations) {
  Machine* m = machine_for_tools();
  if (!valid(m, device)) return no_device("gapless_sim_advance", device);
  m->advance(device, operations);
  return 0;
}

uint64_t gapless_sim_step(int device, void* stream, uint64_t operations) {
  Machine* m = machine_for_tools();
  return valid(m, device) ? m->step(device, resolve_stream(stream), operations) : 0;
}

int gapless_sim_host_release(uint64_t token) {
  Machine* m = machine_for_tools();
  if (m == nullptr) return tool_error(CUDA_ERROR_NOT_INITIALIZED, "gapless_sim_host_release: no machine");
  m->host_release(token);
  return 0;
}

int gapless_sim_host_acquire(uint64_t token) {
  Machine* m = machine_for_tools();
  if (m == nullptr) return tool_error(CUDA_ERROR_NOT_INITIALIZED, "gapless_sim_host_acquire: no machine");
  m->host_acquire(token);
  return 0;
}

int gapless_sim_set_size(int device, uint64_t bytes) {
  Machine* m = machine_for_tools();
  if (!valid(m, device)) return no_device("gapless_sim_set_size", device);
  m->set_size(device, bytes);
  return 0;
}

int gapless_sim_set_other_process_bytes(int device, uint64_t bytes) {
  Machine* m = machine_for_tools();
  if (!valid(m, device)) return no_device("gapless_sim_set_other_process_bytes", device);
  m->set_other_process_bytes(device, bytes);
  return 0;
}

int gapless_sim_on_synchronize(void (*callback)(int stream_id)) {
  Machine* m = machine_for_tools();
  if (m == nullptr) return tool_error(CUDA_ERROR_NOT_INITIALIZED, "gapless_sim_on_synchronize: no machine");
  m->on_synchronize(callback);
  return 0;
}

void* gapless_sim_translate(uint64_t address, size_t bytes) {
  Machine* m = machine();
  return m != nullptr ? m->translate(address, bytes) : nullptr;
}

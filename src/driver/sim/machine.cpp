// SPDX-License-Identifier: Apache-2.0
// Machine: devices, counting, schedules by hand.
#include "driver/sim/machine.hpp"

#include "driver/sim/core.hpp"

namespace gapless::driver::sim {

Machine::Machine(const Config& config) : core_(std::make_unique<Core>(config)) {}
Machine::~Machine() = default;

const Config& Machine::config() const {
  return core_->common.config;
}
int Machine::device_count() const {
  return core_->common.config.devices;
}

// What a device is can be asked after an error, and by a log.
Result Machine::device_info(int device, DeviceInfo& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->valid_device(device); result != Result::ok) return result;
  out = {};
  out.total_bytes = core_->memory.physical(device).size();
  out.granularity = kGranule;
  out.virtual_memory = core_->common.config.virtual_memory;
  out.posix_handles = out.virtual_memory;
  out.gpu_direct_rdma = out.virtual_memory && core_->common.config.gpu_direct_rdma;
  out.fabric_handles = out.virtual_memory && core_->common.config.fabric;
  out.resident_threads = kMultiprocessors * kThreadsPerMultiprocessor;
  return Result::ok;
}

Result Machine::memory_info(int device, MemoryInfo& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->device_state(device); result != Result::ok) return result;
  const PhysicalMemory& memory = core_->memory.physical(device);
  out = {memory.free_bytes(), memory.size()};
  return Result::ok;
}

std::uint64_t Machine::physical_bytes(int device) {
  const Lock lock = core_->enter();
  return core_->memory.physical(device).used();
}

std::uint64_t Machine::physical_bytes_peak(int device) {
  const Lock lock = core_->enter();
  return core_->memory.physical(device).peak();
}

void Machine::reset_physical_peak(int device) {
  const Lock lock = core_->enter();
  core_->memory.physical(device).reset_peak();
}

void Machine::set_size(int device, std::uint64_t bytes) {
  const Lock lock = core_->enter();
  core_->memory.physical(device).set_size(bytes);
}

void Machine::set_other_process_bytes(int device, std::uint64_t bytes) {
  const Lock lock = core_->enter();
  core_->memory.physical(device).set_other(bytes);
}

bool Machine::inside_host_function() {
  return HostFunctionScope::active();
}

Result Machine::refuse_in_host_function(const char* call) {
  const Lock lock = core_->enter();
  return core_->refuse_in_host_function(call);
}

void Machine::poison(int device, Result error) {
  const Lock lock = core_->enter();
  core_->sticky[static_cast<std::size_t>(device)] = error;
}

void Machine::advance(int device, std::uint64_t operations) {
  Lock lock = core_->enter();
  core_->scheduler.advance(core_->legacy(device), operations);
  core_->scheduler.tick(lock);
}

std::uint64_t Machine::step(int device, Stream stream, std::uint64_t operations) {
  Lock lock = core_->enter();
  StreamState* state = core_->resolve(device, stream);
  return state == nullptr ? 0 : core_->scheduler.step(lock, *state, operations);
}

std::uint64_t Machine::operations() const {
  const Lock lock = core_->enter();
  return core_->common.operations;
}

void Machine::host_release(std::uint64_t token) {
  const Lock lock = core_->enter();
  core_->threads.release(token);
}

void Machine::host_acquire(std::uint64_t token) {
  const Lock lock = core_->enter();
  core_->threads.acquire(token);
}

int Machine::call_id(const char* name) {
  return core_->common.counters.id(name);
}
void Machine::count(int id) {
  core_->common.counters.count(id);
}
std::uint64_t Machine::calls(std::string_view name) {
  return core_->common.counters.calls(name);
}
void Machine::reset_call_counts() {
  core_->common.counters.reset();
}

std::vector<Machine::Count> Machine::call_counts() {
  std::vector<Count> counts;
  core_->common.counters.for_each([&](const std::string& name, std::uint64_t calls) {
    if (calls != 0) counts.push_back({name, calls});
  });
  return counts;
}

void Machine::violate(const char* rule, std::string text) {
  const Lock lock = core_->enter();
  core_->common.violate(rule, std::move(text));
}

std::uint64_t Machine::violation_count() const {
  return core_->common.violations.count();
}
std::vector<Violation> Machine::violations() {
  return core_->common.violations.list();
}
void Machine::on_synchronize(void (*callback)(int)) {
  core_->on_synchronize.store(callback);
}

const char* Machine::intern(std::string_view name) {
  const Lock lock = core_->enter();
  return core_->names.emplace(name).first->c_str();
}

}  // namespace gapless::driver::sim

// SPDX-License-Identifier: Apache-2.0
// The allocator of a process: its devices, and which of them a pointer belongs to.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/device_allocator.hpp"

namespace gapless::engine {

class Allocator {
 public:
  // Calls nothing of the driver: a process that only opens an allocator and then forks keeps CUDA for its children.
  // Errors: OUT_OF_MEMORY (host).
  static Status open(std::unique_ptr<driver::DriverOps> ops, const config::Options& options,
                     std::unique_ptr<Allocator>& out);
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  Status device_count(int& out);
  driver::DriverOps& ops() { return *ops_; }

  GAPLESS_FAST Status allocate(int device, driver::Stream stream, std::uint64_t bytes, void** out) {
    if (static_cast<unsigned>(device) >= kMostDevices) [[unlikely]]
      return no_such_device(device);
    DeviceAllocator* one = slot(device).load(std::memory_order_acquire);
    if (one == nullptr) [[unlikely]]
      if (const Status status = bring_up(device, one); status != Status::ok) return status;
    return one->allocate(stream, bytes, out);
  }
  GAPLESS_FAST Status deallocate(void* pointer) {
    const auto address = reinterpret_cast<std::uint64_t>(pointer);
    const vmm::Region* const region = addresses_.find(address);
    if (region == nullptr) [[unlikely]]
      return unknown_pointer(address);
    return slot(region->device).load(std::memory_order_relaxed)->deallocate(*region, address);
  }

  // The device's allocator, brought up at first use. Errors: INVALID_ARGUMENT, UNSUPPORTED (no virtual memory), DRIVER.
  Status device(int device, DeviceAllocator*& out);
  // The same, but null for one that has not been used yet: what is read about it needs no driver. Errors:
  // INVALID_ARGUMENT.
  Status peek(int device, DeviceAllocator*& out);
  // The device that holds an address and where. Errors: UNKNOWN_POINTER.
  Status locate(const void* pointer, DeviceAllocator*& device, const vmm::Region*& region);
  Status probe(int device);

  // Null: nobody listens. Returns the one before: calls of it may be under way until await_listeners() has returned,
  // which is called with no lock that a listener may want.
  Listener* exchange_listener(Listener* listener);
  Listener* listener() const { return shared_.listener.load(); }
  void await_listeners();
  void set_oom_hook(OomHook* hook) { shared_.oom_hook.store(hook); }
  void set_step_reader(StepReader* reader) { shared_.step_reader.store(reader); }
  config::Options options();
  // `change` gets the options to edit and says whether to take them. One thread at a time, so that no change is lost.
  template <typename Change>
  void change_options(Change change) {
    const std::lock_guard guard(lock_);
    config::Options next = options_;
    if (!change(next)) return;
    options_ = next;
    for_each_device([&](DeviceAllocator& one) { one.set_options(options_); });
  }
  bool any_live();
  std::string notes();  // what was asked for in vain of the devices in use, a line each
  template <typename Visit>
  void for_each_device(Visit visit) {
    for (int i = 0; i < static_cast<int>(kMostDevices); i++)
      if (DeviceAllocator* const one = slot(i).load(std::memory_order_acquire)) visit(*one);
  }
  void prepare_fork();
  void after_fork(bool child);

  // PyTorch supports at most 120 devices.
  static constexpr unsigned kMostDevices = 128;

 private:
  std::atomic<DeviceAllocator*>& slot(int device) { return slots_[static_cast<std::size_t>(device)]; }
  Allocator(std::unique_ptr<driver::DriverOps> ops, const config::Options& options);
  GAPLESS_SLOW Status bring_up(int device, DeviceAllocator*& out);
  GAPLESS_SLOW static Status no_such_device(int device);
  GAPLESS_SLOW static Status unknown_pointer(std::uint64_t address);

  std::unique_ptr<driver::DriverOps> ops_;
  vmm::AddressMap addresses_;
  Shared shared_;
  std::vector<std::atomic<DeviceAllocator*>> slots_;
  std::atomic<int> known_devices_{0};  // 0: not asked yet
  base::RegistryLock lock_;            // the members below
  config::Options options_;
  std::vector<std::unique_ptr<DeviceAllocator>> owned_;
  std::string notes_;
};

}  // namespace gapless::engine

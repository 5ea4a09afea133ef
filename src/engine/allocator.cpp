// SPDX-License-Identifier: Apache-2.0
#include "engine/allocator.hpp"

#include <cstdio>
#include <mutex>
#include <string>
#include <thread>

#include "driver/failed.hpp"
#include "engine/forked.hpp"
#include "engine/handle_kind.hpp"
#include "engine/notify.hpp"

namespace gapless::engine {

using driver::Result;

namespace {

// The first questions to the driver. CUDA is initialised for them, so that it says so only in a child that was forked
// after somebody had done that before.
Status refused(driver::DriverOps& ops, const char* call, Result result) {
  return result == Result::not_initialized ? forked_child() : driver::failed(ops, call, result);
}

}  // namespace

Allocator::Allocator(std::unique_ptr<driver::DriverOps> ops, const config::Options& options)
    : ops_(std::move(ops)), slots_(kMostDevices), options_(options) {
  shared_.ops = ops_.get();
  shared_.addresses = &addresses_;
}

Allocator::~Allocator() {
  owned_.clear();
}

Status Allocator::open(std::unique_ptr<driver::DriverOps> ops, const config::Options& options,
                       std::unique_ptr<Allocator>& out) {
  std::unique_ptr<Allocator> fresh(new Allocator(std::move(ops), options));
  if (!fresh->addresses_.ok())
    return base::fail(Status::out_of_memory, "the host has no address space for the address map");
  out = std::move(fresh);
  return Status::ok;
}

Status Allocator::device_count(int& out) {
  out = known_devices_.load(std::memory_order_relaxed);
  if (out > 0) return Status::ok;
  const Result result = ops_->device_count(out);
  if (result == Result::ok) {
    known_devices_.store(out, std::memory_order_relaxed);
    return Status::ok;
  }
  return refused(*ops_, "cuDeviceGetCount", result);
}

Status Allocator::no_such_device(int device) {
  return base::fail(Status::invalid_argument, "no device " + std::to_string(device));
}

Status Allocator::unknown_pointer(std::uint64_t address) {
  char text[64];
  std::snprintf(text, sizeof text, "%#llx lies in no memory of this allocator",
                static_cast<unsigned long long>(address));
  return base::fail(Status::unknown_pointer, text);
}

Status Allocator::probe(int device) {
  int count = 0;
  if (const Status status = device_count(count); status != Status::ok) return status;
  if (device < 0 || device >= count) return no_such_device(device);
  driver::DeviceInfo info;
  const Result result = ops_->device_info(device, info);
  if (result != Result::ok) return refused(*ops_, "cuDeviceGetAttribute", result);
  if (!info.virtual_memory)
    return base::fail(Status::unsupported,
                      "the device has no virtual memory management (an old driver, a virtual GPU or WSL)");
  // Slots and units are powers of two; all drivers say 2 MiB.
  if (info.granularity < 4096 || (info.granularity & (info.granularity - 1)) != 0)
    return base::fail(Status::unsupported,
                      "the granularity of " + std::to_string(info.granularity) + " bytes is no power of two");
  return Status::ok;
}

Status Allocator::bring_up(int device, DeviceAllocator*& out) {
  const std::lock_guard guard(lock_);
  out = slot(device).load(std::memory_order_acquire);
  if (out != nullptr) return Status::ok;
  if (const Status status = probe(device); status != Status::ok) return status;
  driver::DeviceInfo info;
  if (const Result result = ops_->device_info(device, info); result != Result::ok)
    return refused(*ops_, "cuDeviceGetAttribute", result);
  const std::string note = settle_fabric(*ops_, device, options_, info);
  if (!note.empty()) {
    notes_ += (notes_.empty() ? "" : "\n") + note;
    // Nobody reads the notes so late.
    std::fprintf(stderr, "gapless: %s\n", note.c_str());
  }
  owned_.push_back(std::make_unique<DeviceAllocator>(shared_, device, info, options_));
  out = owned_.back().get();
  slot(device).store(out, std::memory_order_release);
  return Status::ok;
}

Status Allocator::device(int device, DeviceAllocator*& out) {
  if (static_cast<unsigned>(device) >= kMostDevices) return no_such_device(device);
  out = slot(device).load(std::memory_order_acquire);
  return out != nullptr ? Status::ok : bring_up(device, out);
}

Status Allocator::peek(int device, DeviceAllocator*& out) {
  const int known = known_devices_.load(std::memory_order_relaxed);
  if (static_cast<unsigned>(device) >= kMostDevices || (known > 0 && device >= known)) return no_such_device(device);
  out = slot(device).load(std::memory_order_acquire);
  return Status::ok;
}

Status Allocator::locate(const void* pointer, DeviceAllocator*& device, const vmm::Region*& region) {
  const auto address = reinterpret_cast<std::uint64_t>(pointer);
  region = addresses_.find(address);
  if (region == nullptr) return unknown_pointer(address);
  device = slot(region->device).load(std::memory_order_acquire);
  return Status::ok;
}

Listener* Allocator::exchange_listener(Listener* listener) {
  const std::lock_guard guard(lock_);
  Listener* const old = shared_.listener.exchange(listener);
  for_each_device([&](DeviceAllocator& one) { one.listen(listener != nullptr); });
  return old;
}

void Allocator::await_listeners() {
  await_deliveries(shared_);
}

config::Options Allocator::options() {
  const std::lock_guard guard(lock_);
  return options_;
}

std::string Allocator::notes() {
  const std::lock_guard guard(lock_);
  return notes_;
}

bool Allocator::any_live() {
  bool live = false;
  for_each_device([&](DeviceAllocator& one) { live = live || one.any_live(); });
  return live;
}

void Allocator::prepare_fork() {
  // Ranks are for one allocator; several are locked here.
  while (!lock_.try_lock()) std::this_thread::yield();
  for_each_device([](DeviceAllocator& one) { one.prepare_fork(); });
  while (!addresses_.lock().try_lock()) std::this_thread::yield();
}

void Allocator::after_fork(bool child) {
  // The parent's other threads do not exist here: their calls of the listener never end.
  if (child) shared_.delivering.store(delivering_here() ? 1 : 0);
  addresses_.lock().unlock();
  for_each_device([child](DeviceAllocator& one) { one.after_fork(child); });
  lock_.unlock();
}

}  // namespace gapless::engine

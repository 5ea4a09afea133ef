// SPDX-License-Identifier: Apache-2.0
// Opening and closing, and what a forked child must find.
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "capi/fence.hpp"
#include "capi/handle.hpp"
#include "capi/structs.hpp"
#include "config/load.hpp"
#include "driver/cuda_driver.hpp"
#include "engine/forked.hpp"
#include "guard/guard.hpp"

namespace gapless::capi {
namespace {

// All open allocators, for fork. Leaked: threads may outlive static destruction.
struct Registry {
  base::ProcessLock lock;
  std::vector<gapless_allocator*> open;
};
Registry& registry() {
  static auto* const instance = new Registry;
  return *instance;
}

// This process is a forked child of one whose allocator had used a device: the driver answers nothing in it.
std::atomic<bool> parent_used_cuda{false};

// No thread of the parent is inside the allocator when the child is made, so the child finds every structure whole.
void before_fork() {
  registry().lock.lock();
  for (gapless_allocator* const one : registry().open) {
    one->engine->prepare_fork();
    one->oom_hooks.prepare_fork();
    one->learner.prepare_fork();
    one->ipc_imports.prepare_fork();
    while (!one->ipc_lock.try_lock()) std::this_thread::yield();
    while (!one->retired_lock.try_lock()) std::this_thread::yield();
    while (!one->constant_lock.try_lock()) std::this_thread::yield();
    if (one->guard != nullptr)
      while (!one->guard->lock().try_lock()) std::this_thread::yield();
  }
}
void after_fork(bool child) {
  for (gapless_allocator* const one : registry().open) {
    if (one->guard != nullptr) {
      one->guard->after_fork(child);
      one->guard->lock().unlock();
    }
    one->constant_lock.unlock();
    one->retired_lock.unlock();
    if (child && one->ipc_server != nullptr) one->ipc_server->leave();
    one->ipc_lock.unlock();
    one->ipc_imports.after_fork(child);
    one->learner.after_fork();
    one->oom_hooks.after_fork(child);
    one->engine->after_fork(child);
    if (child) one->engine->for_each_device([](engine::DeviceAllocator&) { parent_used_cuda.store(true); });
  }
  registry().lock.unlock();
}

void enlist(gapless_allocator* allocator) {
  static std::once_flag once;
  std::call_once(once, [] {
    pthread_atfork(
        before_fork, [] { after_fork(false); }, [] { after_fork(true); });
  });
  const std::lock_guard guard(registry().lock);
  registry().open.push_back(allocator);
}

void strike_off(gapless_allocator* allocator) {
  const std::lock_guard guard(registry().lock);
  std::erase(registry().open, allocator);
}

gapless_oom_answer give_quarantine(void* user, const gapless_oom_record* record) {
  return static_cast<guard::Guard*>(user)->flush(record->device) ? GAPLESS_OOM_TRY_AGAIN : GAPLESS_OOM_GIVE_UP;
}

Status open_status(std::unique_ptr<driver::DriverOps> ops, const config::Options& options, gapless_allocator** out) {
  auto fresh = std::make_unique<gapless_allocator>();
  const Status status = engine::Allocator::open(std::move(ops), options, fresh->engine);
  if (status != Status::ok) return status;
  fresh->oom_hooks.advise_with(*fresh->engine, fresh->learner);
  fresh->engine->set_oom_hook(&fresh->oom_hooks);
  fresh->engine->set_step_reader(&fresh->learner);
  if (options.guard) {
    std::unique_ptr<guard::Guard> made;
    const Status guarded = guard::Guard::open(*fresh->engine, options.guard_quarantine, made);
    if (guarded != Status::ok) return guarded;
    fresh->guard = std::move(made);
    fresh->oom_hooks.add_giver(give_quarantine, fresh->guard.get());
  }
  enlist(fresh.get());
  *out = fresh.release();
  return Status::ok;
}

const char* environment(const char* name) {
  return std::getenv(name);
}

}  // namespace

gapless_status open_with_driver(std::unique_ptr<driver::DriverOps> ops, const config::Options& options,
                                gapless_allocator** out) {
  return fenced([&] { return open_status(std::move(ops), options, out); });
}

}  // namespace gapless::capi

using gapless::Status;
using gapless::capi::fenced;
using gapless::capi::null_argument;

extern "C" {

gapless_status gapless_open(const gapless_open_args* args, gapless_allocator** out) {
  return fenced([&] {
    if (out == nullptr) return null_argument("out");
    if (gapless::capi::parent_used_cuda.load()) return gapless::engine::forked_child();
    gapless_open_args given{};
    if (args != nullptr && !gapless::capi::read_struct(args, given))
      return gapless::base::fail(Status::invalid_argument, "args->struct_size is not set: use GAPLESS_STRUCT");
    bool arguments_ok = true;
    const gapless::config::Loaded loaded = gapless::config::load_options(
        given.ignore_environment != 0 ? nullptr : gapless::capi::environment, given.options, &arguments_ok);
    if (!arguments_ok) {
      std::string text;
      for (const gapless::config::Message& message : loaded.messages)
        if (message.severity == gapless::config::Severity::error) text += (text.empty() ? "" : " ") + message.text;
      return gapless::base::fail(Status::invalid_argument, text);
    }
    std::string why_not;
    std::unique_ptr<gapless::driver::DriverOps> ops = gapless::driver::open_cuda_driver(why_not);
    if (ops == nullptr) return gapless::base::fail(Status::unsupported, why_not);
    gapless_allocator* opened = nullptr;
    const Status status = gapless::capi::open_status(std::move(ops), loaded.options, &opened);
    if (status != Status::ok) return status;
    for (const gapless::config::Message& message : loaded.messages)
      opened->notes += (opened->notes.empty() ? "" : "\n") + message.text;
    *out = opened;
    return Status::ok;
  });
}

gapless_status gapless_close(gapless_allocator* allocator) {
  return fenced([&] {
    if (allocator == nullptr) return Status::ok;
    if (allocator->constant_pools.load(std::memory_order_relaxed) != 0)
      return gapless::base::fail(Status::busy, "constant pools are open");
    if (allocator->guard != nullptr)
      if (const Status status = allocator->guard->close(); status != Status::ok) return status;
    if (allocator->engine->any_live()) return gapless::base::fail(Status::busy, "blocks are live");
    gapless::capi::strike_off(allocator);
    delete allocator;
    return Status::ok;
  });
}

const char* gapless_status_name(gapless_status status) {
  return gapless::status_name(static_cast<Status>(status));
}
const char* gapless_last_error(void) {
  return gapless::base::last_error();
}
int gapless_last_driver_error(void) {
  return gapless::base::last_driver_error();
}

gapless_status gapless_device_count(gapless_allocator* allocator, int32_t* out) {
  return fenced([&] {
    if (allocator == nullptr || out == nullptr) return null_argument("allocator or out");
    int count = 0;
    const Status status = allocator->engine->device_count(count);
    if (status == Status::ok) *out = count;
    return status;
  });
}

gapless_status gapless_probe_device(gapless_allocator* allocator, int32_t device) {
  return fenced([&] { return allocator == nullptr ? null_argument("allocator") : allocator->engine->probe(device); });
}

}  // extern "C"

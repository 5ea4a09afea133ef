// SPDX-License-Identifier: Apache-2.0
#include "capi/oom_hooks.hpp"

#include <algorithm>
#include <mutex>
#include <new>
#include <thread>

#include "oom/advisor.hpp"

namespace gapless::capi {
namespace {

thread_local int asking_on_this_thread = 0;

// Counts a thread while it is inside the hooks, also when one throws.
class Asking {
 public:
  explicit Asking(std::atomic<int>& asking) : asking_(asking) {
    asking_.fetch_add(1);
    asking_on_this_thread++;
  }
  ~Asking() {
    asking_on_this_thread--;
    asking_.fetch_sub(1);
  }
  Asking(const Asking&) = delete;
  Asking& operator=(const Asking&) = delete;

 private:
  std::atomic<int>& asking_;
};

}  // namespace

void OomHooks::add_to(std::vector<Entry>& entries, const Entry& entry) {
  if (std::find(entries.begin(), entries.end(), entry) == entries.end()) entries.push_back(entry);
}

void OomHooks::add(gapless_oom_hook hook, void* user) {
  const std::lock_guard guard(lock_);
  add_to(hooks_, Entry{hook, user});
}

void OomHooks::add_giver(gapless_oom_hook hook, void* user) {
  const std::lock_guard guard(lock_);
  add_to(givers_, Entry{hook, user});
}

Status OomHooks::remove(gapless_oom_hook hook, void* user) {
  {
    const std::lock_guard guard(lock_);
    const Entry entry{hook, user};
    if (std::erase(givers_, entry) + std::erase(hooks_, entry) == 0)
      return base::fail(Status::not_found, "no such hook");
  }
  // What `user` points to may go away once this returns. From inside a hook there is no waiting: two hooks that waited
  // for each other's end would wait for ever.
  while (asking_on_this_thread == 0 && asking_.load() > 0) std::this_thread::yield();
  return Status::ok;
}

void OomHooks::prepare_fork() {
  // Ranks are for one allocator; several are locked here.
  while (!lock_.try_lock()) std::this_thread::yield();
}

void OomHooks::after_fork(bool child) {
  // The parent's other threads do not exist in the child: their calls never end.
  if (child) asking_.store(asking_on_this_thread == 0 ? 0 : 1);
  lock_.unlock();
}

void OomHooks::complete(gapless_oom_record& record) {
  engine::DeviceAllocator* device = nullptr;
  if (learner_ == nullptr || engine_->peek(record.device, device) != Status::ok || device == nullptr) return;
  try {
    oom::advise(*device, *learner_, record);
  } catch (const std::bad_alloc&) {
    // The host has no memory left to think with: the record says nothing then.
  }
}

gapless_oom_answer OomHooks::ask(const gapless_oom_record& record) {
  const Asking asking(asking_);
  std::vector<Entry> givers, hooks;
  {
    const std::lock_guard guard(lock_);
    // An injected failure is not for want of memory, and what no device holds nobody can give.
    if (record.verdict != GAPLESS_OOM_INJECTED && record.requested_bytes <= record.driver_total_bytes) givers = givers_;
    hooks = hooks_;
  }
  bool given = false;
  for (const Entry& entry : givers) given = entry.hook(entry.user, &record) == GAPLESS_OOM_TRY_AGAIN || given;
  if (given) return GAPLESS_OOM_TRY_AGAIN;
  for (const Entry& entry : hooks)
    if (entry.hook(entry.user, &record) == GAPLESS_OOM_TRY_AGAIN) return GAPLESS_OOM_TRY_AGAIN;
  return GAPLESS_OOM_GIVE_UP;
}

}  // namespace gapless::capi

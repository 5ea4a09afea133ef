// SPDX-License-Identifier: Apache-2.0
#include "capi/oom_hooks.hpp"

#include <algorithm>
#include <mutex>

namespace gapless::capi {

Status OomHooks::add(gapless_oom_hook hook, void* user) {
  const std::lock_guard guard(lock_);
  const Entry entry{hook, user};
  if (std::find(hooks_.begin(), hooks_.end(), entry) == hooks_.end()) hooks_.push_back(entry);
  return Status::ok;
}

Status OomHooks::remove(gapless_oom_hook hook, void* user) {
  const std::lock_guard guard(lock_);
  const auto at = std::find(hooks_.begin(), hooks_.end(), Entry{hook, user});
  if (at == hooks_.end()) return base::fail(Status::not_found, "no such hook");
  hooks_.erase(at);
  return Status::ok;
}

gapless_oom_answer OomHooks::ask(const gapless_oom_record& record) {
  std::vector<Entry> hooks;
  {
    const std::lock_guard guard(lock_);
    hooks = hooks_;
  }
  for (const Entry& entry : hooks)
    if (entry.hook(entry.user, &record) == GAPLESS_OOM_TRY_AGAIN) return GAPLESS_OOM_TRY_AGAIN;
  return GAPLESS_OOM_GIVE_UP;
}

}  // namespace gapless::capi

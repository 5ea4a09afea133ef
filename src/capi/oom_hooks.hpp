// SPDX-License-Identifier: Apache-2.0
// The hooks of gapless_add_oom_hook, asked in the order of setting until one says that it helped.
#pragma once

#include <atomic>
#include <vector>

#include "base/lock.hpp"
#include "base/status.hpp"
#include "engine/hooks.hpp"

namespace gapless::capi {

class OomHooks final : public engine::OomHook {
 public:
  Status add(gapless_oom_hook hook, void* user);
  // Returns when no thread is in a call of it any more; at once from inside a hook.
  Status remove(gapless_oom_hook hook, void* user);
  void complete(gapless_oom_record&) override {}
  gapless_oom_answer ask(const gapless_oom_record& record) override;
  void prepare_fork();
  void after_fork(bool child);

 private:
  struct Entry {
    gapless_oom_hook hook;
    void* user;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  base::LeafLock lock_;
  std::vector<Entry> hooks_;
  std::atomic<int> asking_{0};  // threads that are in ask()
};

}  // namespace gapless::capi

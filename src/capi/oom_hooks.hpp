// SPDX-License-Identifier: Apache-2.0
// Who is asked before a request is given up: gapless's own parts that hold memory which nobody needs, all of them,
// where memory is what is missing; if none gave any, the hooks of gapless_add_oom_hook, in the order of setting until
// one says that it helped.
#pragma once

#include <atomic>
#include <vector>

#include "base/lock.hpp"
#include "base/status.hpp"
#include "engine/allocator.hpp"
#include "engine/hooks.hpp"
#include "learn/learner.hpp"

namespace gapless::capi {

class OomHooks final : public engine::OomHook {
 public:
  void add(gapless_oom_hook hook, void* user);
  void add_giver(gapless_oom_hook hook, void* user);  // a part of gapless
  // Of either kind. Returns when no thread is in a call of it any more; at once from inside a hook.
  Status remove(gapless_oom_hook hook, void* user);
  // What is learnt goes into the record. Set once, before the first request.
  void advise_with(engine::Allocator& engine, learn::Learner& learner) { engine_ = &engine, learner_ = &learner; }
  void complete(gapless_oom_record& record) override;
  gapless_oom_answer ask(const gapless_oom_record& record) override;
  void prepare_fork();
  void after_fork(bool child);

 private:
  struct Entry {
    gapless_oom_hook hook;
    void* user;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  static void add_to(std::vector<Entry>& entries, const Entry& entry);

  engine::Allocator* engine_ = nullptr;
  learn::Learner* learner_ = nullptr;
  base::LeafLock lock_;
  std::vector<Entry> givers_;
  std::vector<Entry> hooks_;
  std::atomic<int> asking_{0};  // threads that are in ask()
};

}  // namespace gapless::capi

// SPDX-License-Identifier: Apache-2.0
/// @file
/// OomHook: a callable that is asked before a request fails.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "gapless/cpp/status.hpp"
#include "gapless/gapless.h"

namespace gapless {

/// Everything known about a request that could not be met: sizes in bytes, verdict, step, suggestion.
using OomRecord = gapless_oom_record;

/// What a hook says.
enum class OomAnswer : int {
  give_up = GAPLESS_OOM_GIVE_UP,      ///< the request fails (or the next hook is asked)
  try_again = GAPLESS_OOM_TRY_AGAIN,  ///< memory was freed; taken as give_up when nothing became available
};

/// Keeps a callable registered while it lives.
///
/// The callable runs on the thread whose request fails, with no lock of gapless held, so it may free blocks, trim, and
/// make requests of its own (one that cannot be met fails at once). Several threads may call it at the same time. An
/// exception that leaves it ends the program: the request's caller need not be C++.
class OomHook {
 public:
  using Function = std::function<OomAnswer(const OomRecord&)>;

  /// Asks nobody.
  OomHook() noexcept = default;
  OomHook(OomHook&& other) noexcept
      : allocator_(std::exchange(other.allocator_, nullptr)), function_(std::move(other.function_)) {}
  OomHook& operator=(OomHook&& other) noexcept {
    if (this != &other) {
      reset();
      allocator_ = std::exchange(other.allocator_, nullptr);
      function_ = std::move(other.function_);
    }
    return *this;
  }
  OomHook(const OomHook&) = delete;
  OomHook& operator=(const OomHook&) = delete;
  ~OomHook() { reset(); }

  /// See Allocator::on_oom. std::bad_alloc (the host's) can leave here, when the callable cannot be stored.
  [[nodiscard]] static Result<OomHook> try_make(gapless_allocator* allocator, Function function) {
    OomHook hook;
    // On the heap, since the address is the registration's `user` and must survive a move of the hook.
    hook.function_ = std::make_unique<Function>(std::move(function));
    const gapless_status status = gapless_add_oom_hook(allocator, &OomHook::ask, hook.function_.get());
    if (status != GAPLESS_OK) return detail::failure_of(status);
    hook.allocator_ = allocator;
    return Result<OomHook>(std::move(hook));
  }

  /// Withdraws the callable, after waiting until no thread is inside it any more; from inside it, at once.
  void reset() noexcept {
    if (allocator_ != nullptr) {
      static_cast<void>(gapless_remove_oom_hook(std::exchange(allocator_, nullptr), &OomHook::ask, function_.get()));
    }
    function_.reset();
  }

 private:
  static gapless_oom_answer ask(void* user, const gapless_oom_record* record) noexcept {
    return static_cast<gapless_oom_answer>((*static_cast<Function*>(user))(*record));
  }

  gapless_allocator* allocator_ = nullptr;
  std::unique_ptr<Function> function_;
};

}  // namespace gapless

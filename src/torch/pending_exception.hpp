// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <utility>

namespace gapless::torch {

/// Carries an exception of a callback over the C ABI: kept where it happens, thrown again on the same thread by the
/// function that called into gapless. One that nobody asked for, because gapless met the request in another way, is
/// forgotten when the next callback starts.
class PendingException {
 public:
  static void keep() noexcept { pending_ = std::current_exception(); }
  static void rethrow() {
    if (pending_) std::rethrow_exception(std::exchange(pending_, nullptr));
  }
  static void forget() noexcept { pending_ = nullptr; }

 private:
  inline static thread_local std::exception_ptr pending_;
};

}  // namespace gapless::torch

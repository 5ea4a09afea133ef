// SPDX-License-Identifier: Apache-2.0
// No exception leaves the C ABI.
#pragma once

#include <exception>
#include <new>

#include "base/check.hpp"
#include "base/status.hpp"
#include "gapless/gapless.h"

namespace gapless::capi {

static_assert(static_cast<int>(Status::ok) == GAPLESS_OK);
static_assert(static_cast<int>(Status::out_of_memory) == GAPLESS_ERROR_OUT_OF_MEMORY);
static_assert(static_cast<int>(Status::driver) == GAPLESS_ERROR_DRIVER);
static_assert(static_cast<int>(Status::internal) == GAPLESS_ERROR_INTERNAL);

inline gapless_status to_c(Status status) {
  return static_cast<gapless_status>(status);
}

// The status for the exception being handled.
gapless_status status_of_exception() noexcept;

template <typename Call>
inline gapless_status fenced(Call&& call) noexcept {
  try {
    return to_c(call());
  } catch (...) {
    return status_of_exception();
  }
}

inline Status null_argument(const char* name) {
  return base::fail(Status::invalid_argument, std::string(name) + " is NULL");
}

}  // namespace gapless::capi

// SPDX-License-Identifier: Apache-2.0
/// @file
/// Errors of gapless.hpp: Status and Failure as values, Result<T> that holds either, OutOfMemory and Error as
/// exceptions.
#pragma once

#if __cplusplus < 202002L
#error \
    "gapless.hpp needs C++20 (CMake: target_compile_features(your_target PRIVATE cxx_std_20)); gapless.h needs C++11 or C11"
#endif

#include <cassert>
#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "gapless/gapless.h"

namespace gapless {

/// gapless_status as a scoped enum: same values, same meaning.
enum class Status : int {
  ok = GAPLESS_OK,
  invalid_argument = GAPLESS_ERROR_INVALID_ARGUMENT,
  unknown_pointer = GAPLESS_ERROR_UNKNOWN_POINTER,
  out_of_memory = GAPLESS_ERROR_OUT_OF_MEMORY,
  unsupported = GAPLESS_ERROR_UNSUPPORTED,
  driver = GAPLESS_ERROR_DRIVER,
  in_capture = GAPLESS_ERROR_IN_CAPTURE,
  busy = GAPLESS_ERROR_BUSY,
  not_found = GAPLESS_ERROR_NOT_FOUND,
  internal = GAPLESS_ERROR_INTERNAL,
};

/// "out of memory"; never null.
[[nodiscard]] inline const char* name(Status status) noexcept {
  return gapless_status_name(static_cast<gapless_status>(status));
}

/// Why a call failed.
struct Failure {
  Status status = Status::internal;
  int driver_error = 0;  ///< the CUresult when status is Status::driver, else 0
  std::string detail;    ///< "cuMemCreate: CUDA_ERROR_OUT_OF_MEMORY (2)"; may be empty

  /// "gapless: out of memory: 3.00 GiB wanted, ...".
  [[nodiscard]] std::string message() const {
    const std::string kind = name(status);
    if (detail.compare(0, kind.size(), kind) == 0) return "gapless: " + detail;
    return "gapless: " + kind + (detail.empty() ? "" : ": " + detail);
  }
};

/// A request could not be met; nothing changed. Device::last_oom says why.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(Failure failure) : failure_(std::move(failure)), message_(failure_.message()) {}
  [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }
  [[nodiscard]] const Failure& failure() const noexcept { return failure_; }

 private:
  Failure failure_;
  std::string message_;
};

/// Every other failure.
class Error : public std::runtime_error {
 public:
  explicit Error(Failure failure) : std::runtime_error(failure.message()), failure_(std::move(failure)) {}
  [[nodiscard]] const Failure& failure() const noexcept { return failure_; }
  [[nodiscard]] Status status() const noexcept { return failure_.status; }

 private:
  Failure failure_;
};

namespace detail {

[[noreturn]] inline void raise(const Failure& failure) {
#if defined(__cpp_exceptions)
  if (failure.status == Status::out_of_memory) throw OutOfMemory(failure);
  throw Error(failure);
#else
  std::fprintf(stderr, "%s\n", failure.message().c_str());
  std::terminate();
#endif
}

/// Reads the thread's error text at once: the next call into gapless replaces it. A host without memory for the text
/// still gets the status.
[[nodiscard]] inline Failure failure_of(gapless_status status) noexcept {
  Failure failure;
  failure.status = static_cast<Status>(status);
  if (status == GAPLESS_ERROR_DRIVER) failure.driver_error = gapless_last_driver_error();
#if defined(__cpp_exceptions)
  try {
    failure.detail = gapless_last_error();
  } catch (...) {
  }
#else
  failure.detail = gapless_last_error();
#endif
  return failure;
}

}  // namespace detail

/// A value of T, or the Failure that took its place. As std::expected<T, Failure>, which C++20 lacks.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) noexcept(std::is_nothrow_move_constructible_v<T>)
      : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Failure failure) noexcept : state_(std::in_place_index<1>, std::move(failure)) {}

  [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  [[nodiscard]] Status status() const noexcept { return has_value() ? Status::ok : failure().status; }
  /// Only when there is no value.
  [[nodiscard]] const Failure& failure() const noexcept {
    assert(!has_value());
    return *std::get_if<1>(&state_);
  }

  /// The value; throws OutOfMemory or Error when there is none.
  [[nodiscard]] T& value() & { return require(), **this; }
  [[nodiscard]] const T& value() const& { return require(), **this; }
  [[nodiscard]] T&& value() && { return require(), std::move(**this); }

  /// Only when there is a value.
  [[nodiscard]] T& operator*() & noexcept { return *checked(std::get_if<0>(&state_)); }
  [[nodiscard]] const T& operator*() const& noexcept { return *checked(std::get_if<0>(&state_)); }
  [[nodiscard]] T&& operator*() && noexcept { return std::move(*checked(std::get_if<0>(&state_))); }
  [[nodiscard]] T* operator->() noexcept { return checked(std::get_if<0>(&state_)); }
  [[nodiscard]] const T* operator->() const noexcept { return checked(std::get_if<0>(&state_)); }

  template <typename U>
  [[nodiscard]] T value_or(U&& other) && {
    return has_value() ? std::move(**this) : static_cast<T>(std::forward<U>(other));
  }

 private:
  template <typename P>
  static P* checked(P* pointer) noexcept {
    assert(pointer != nullptr);
    return pointer;
  }
  void require() const {
    if (!has_value()) detail::raise(failure());
  }

  std::variant<T, Failure> state_;
};

/// Success, or a Failure.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() noexcept = default;
  Result(Failure failure) noexcept : failure_(std::move(failure)), ok_(false) {}

  [[nodiscard]] bool has_value() const noexcept { return ok_; }
  explicit operator bool() const noexcept { return ok_; }
  [[nodiscard]] Status status() const noexcept { return ok_ ? Status::ok : failure_.status; }
  /// Only when it failed.
  [[nodiscard]] const Failure& failure() const noexcept {
    assert(!ok_);
    return failure_;
  }
  /// Throws OutOfMemory or Error when it failed.
  void value() const {
    if (!ok_) detail::raise(failure_);
  }

 private:
  Failure failure_;
  bool ok_ = true;
};

namespace detail {

[[nodiscard]] inline Result<void> result_of(gapless_status status) noexcept {
  if (status == GAPLESS_OK) return {};
  return failure_of(status);
}

template <typename T>
[[nodiscard]] Result<T> result_of(gapless_status status, const T& value) noexcept {
  if (status == GAPLESS_OK) return value;
  return failure_of(status);
}

}  // namespace detail
}  // namespace gapless

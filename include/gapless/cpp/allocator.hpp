// SPDX-License-Identifier: Apache-2.0
/// @file
/// Allocator: opens gapless, serves all devices of the process, closes it.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "gapless/cpp/device.hpp"
#include "gapless/cpp/oom_hook.hpp"
#include "gapless/cpp/status.hpp"
#include "gapless/gapless.h"

namespace gapless {

/// How to open an allocator.
struct OpenOptions {
  /// In the grammar of GAPLESS_CONF: "slack:1.02,eager_unmap:true". They win over the environment.
  std::string options;
  /// False: GAPLESS_CONF, PYTORCH_CUDA_ALLOC_CONF and PYTORCH_ALLOC_CONF are not read.
  bool read_environment = true;
};

/// Owns an open allocator. Movable; a moved-from object owns nothing and may only be assigned to or destroyed.
class Allocator {
 public:
  Allocator(Allocator&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Allocator& operator=(Allocator&& other) noexcept {
    if (this != &other) {
      close_quietly();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;
  ~Allocator() { close_quietly(); }

  ///@{
  /// Opens the CUDA driver and makes an allocator. No context is made and no memory reserved before the first
  /// allocation on a device. Fails with unsupported (no driver) or invalid_argument (options).
  [[nodiscard]] static Result<Allocator> try_open(const OpenOptions& options = {}) noexcept {
    gapless_open_args args = GAPLESS_STRUCT(gapless_open_args);
    args.options = options.options.empty() ? nullptr : options.options.c_str();
    args.ignore_environment = options.read_environment ? 0 : 1;
    gapless_allocator* handle = nullptr;
    const gapless_status status = gapless_open(&args, &handle);
    if (status != GAPLESS_OK) return detail::failure_of(status);
    return Allocator(handle);
  }
  [[nodiscard]] static Allocator open(const OpenOptions& options = {}) { return try_open(options).value(); }
  ///@}

  /// Takes over what gapless_open made.
  [[nodiscard]] static Allocator adopt(gapless_allocator* handle) noexcept { return Allocator(handle); }

  [[nodiscard]] gapless_allocator* handle() const noexcept { return handle_; }
  /// Lets go: the caller now owes gapless_close.
  [[nodiscard]] gapless_allocator* release() noexcept { return std::exchange(handle_, nullptr); }

  ///@{
  /// Gives everything back. Fails with busy while blocks live: then nothing has changed and the allocator is still
  /// open. The destructor tries the same and, when busy, leaves the allocator open for the rest of the process: what
  /// lives stays valid and can still be freed. No other thread may be inside the allocator.
  Result<void> try_close() noexcept {
    if (handle_ == nullptr) return {};
    const gapless_status status = gapless_close(handle_);
    if (status != GAPLESS_OK) return detail::failure_of(status);
    handle_ = nullptr;
    return {};
  }
  void close() { try_close().value(); }
  ///@}

  /// A view of one device.
  [[nodiscard]] Device device(int ordinal) const noexcept { return Device(handle_, ordinal); }

  ///@{
  /// How many devices the driver shows.
  [[nodiscard]] Result<int> try_device_count() const noexcept {
    std::int32_t count = 0;
    const gapless_status status = gapless_device_count(handle_, &count);
    return detail::result_of<int>(status, count);
  }
  [[nodiscard]] int device_count() const { return try_device_count().value(); }
  ///@}

  ///@{
  /// Asks `function` before a request of any device fails, as long as the returned object lives. Hooks are asked in the
  /// order of their making.
  [[nodiscard]] Result<OomHook> try_on_oom(OomHook::Function function) const {
    return OomHook::try_make(handle_, std::move(function));
  }
  [[nodiscard]] OomHook on_oom(OomHook::Function function) const { return try_on_oom(std::move(function)).value(); }
  ///@}

  ///@{
  /// Options by name, values as text (docs/options.md). Setting fails with not_found (name) or invalid_argument
  /// (value).
  Result<void> try_set_option(const std::string& option, const std::string& value) const noexcept {
    return detail::result_of(gapless_set_option(handle_, option.c_str(), value.c_str()));
  }
  void set_option(const std::string& option, const std::string& value) const { try_set_option(option, value).value(); }
  [[nodiscard]] Result<std::string> try_option(const std::string& option) const {
    // gapless_get_option refuses a buffer that is too small; nothing but the notes is longer than the first.
    for (std::size_t capacity = 256;; capacity *= 8) {
      std::string value(capacity, '\0');
      const gapless_status status = gapless_get_option(handle_, option.c_str(), value.data(), value.size());
      if (status == GAPLESS_OK) return value.substr(0, value.find('\0'));
      if (status != GAPLESS_ERROR_INVALID_ARGUMENT || capacity > kLongestValue) return detail::failure_of(status);
    }
  }
  [[nodiscard]] std::string option(const std::string& option) const { return try_option(option).value(); }
  ///@}

  /// What was wrong or without effect in the settings, a line each: "'slak' is not an option; did you mean 'slack'?".
  /// A library does not write to stderr by itself; a program that reads the environment should show this.
  [[nodiscard]] std::string notes() const { return option("notes"); }

 private:
  static constexpr std::size_t kLongestValue = std::size_t{1} << 20;

  explicit Allocator(gapless_allocator* handle) noexcept : handle_(handle) {}
  void close_quietly() noexcept {
    if (handle_ != nullptr) static_cast<void>(gapless_close(std::exchange(handle_, nullptr)));
  }

  gapless_allocator* handle_;
};

}  // namespace gapless

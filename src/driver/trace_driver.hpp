// SPDX-License-Identifier: Apache-2.0
// A driver that remembers what it was asked: counts by function, and on request a log with arguments.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "driver/forwarding_driver.hpp"

namespace gapless::driver {

class TraceDriver final : public ForwardingDriver {
 public:
  struct Entry {
    Call call{};
    Result result{};
    Address address = 0;  // of the range, or the one returned
    std::size_t bytes = 0;
    Handle handle = 0;

    friend bool operator==(const Entry&, const Entry&) = default;
  };

  explicit TraceDriver(DriverOps& next, bool keep_log = false) : ForwardingDriver(next), keep_log_(keep_log) {}

  std::uint64_t calls(Call call) const {
    return counts_[static_cast<std::size_t>(call)].load(std::memory_order_relaxed);
  }
  std::uint64_t memory_calls() const;  // the project's driver calls
  void reset();
  std::vector<Entry> log() const;  // memory calls, in the order they returned
  static std::string text(const Entry& entry);

  Result address_reserve(std::size_t bytes, std::size_t alignment, Address& out) override;
  Result address_free(Address base, std::size_t bytes) override;
  Result create(int device, std::size_t bytes, const HandleProperties& properties, Handle& out) override;
  Result release(Handle handle) override;
  Result map(Address base, std::size_t bytes, Handle handle) override;
  Result unmap(Address base, std::size_t bytes) override;
  Result set_access(Address base, std::size_t bytes, std::span<const int> devices) override;

 protected:
  void after(Call call, Result /*result*/) override {
    counts_[static_cast<std::size_t>(call)].fetch_add(1, std::memory_order_relaxed);
  }

 private:
  Result note(const Entry& entry);

  const bool keep_log_;
  std::array<std::atomic<std::uint64_t>, kCalls> counts_{};
  mutable std::mutex mutex_;
  std::vector<Entry> log_;
};

}  // namespace gapless::driver

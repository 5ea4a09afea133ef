// SPDX-License-Identifier: Apache-2.0
// A driver that fails on command: what tests of every failure path stand on.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "driver/forwarding_driver.hpp"

namespace gapless::driver {

class FaultDriver final : public ForwardingDriver {
 public:
  using ForwardingDriver::ForwardingDriver;

  struct Rule {
    std::optional<Call> call;  // of this kind only; none: of all kinds
    bool memory_only = false;  // with no kind: only calls that touch memory
    std::uint64_t skip = 0;    // this many calls go through first
    std::uint64_t fail = 1;    // then this many fail; UINT64_MAX: all that follow
    Result error = Result::out_of_memory;
    // A call over a range (unmap, set_access) does this many bytes of it before it fails: partial success, as a driver
    // may leave a batch. 0: nothing, which is what the contract promises. Whoever then unmaps what has gone is told so
    // by invalid_value, as by a driver, and breaks no rule: he cannot know (docs/driver_contract.md, Calls).
    std::size_t partial_bytes = 0;
  };

  // Rules are tried in the order they were added; the first that fires decides.
  void add(Rule rule);
  void clear();
  std::uint64_t calls(Call call) const;  // asked for, failed ones included
  std::uint64_t memory_calls() const;
  std::uint64_t injected() const;

  Result map(Address base, std::size_t bytes, Handle handle) override;
  Result unmap(Address base, std::size_t bytes) override;
  Result set_access(Address base, std::size_t bytes, std::span<const int> devices) override;

 protected:
  Result before(Call call) override;

 private:
  const Rule* fire(Call call);  // under the lock; counts the call
  bool take_gone(Address base, std::size_t bytes);

  mutable std::mutex mutex_;
  std::vector<Rule> rules_;
  std::array<std::uint64_t, kCalls> counts_{};
  std::uint64_t injected_ = 0;
  std::map<Address, std::size_t> gone_;  // unmapped by a call that failed; nobody was told yet
};

}  // namespace gapless::driver

// SPDX-License-Identifier: Apache-2.0
// A driver with a gate: a test holds a thread inside a chosen call and looks what others can do meanwhile.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "driver/forwarding_driver.hpp"

namespace gapless::driver {

class LatencyDriver final : public ForwardingDriver {
 public:
  using ForwardingDriver::ForwardingDriver;
  ~LatencyDriver() override { open(); }

  // From now on, calls of this kind stop before they reach the driver below, after `skip` of them went through.
  void close(Call call, std::uint64_t skip = 0);
  // Lets every held thread go, and later calls through.
  void open();
  // Returns when `threads` threads are held.
  void wait_until_held(int threads = 1);
  int held() const;

 protected:
  Result before(Call call) override;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
  Call call_{};
  std::uint64_t skip_ = 0;
  std::uint64_t generation_ = 0;  // of the gate: a thread held by an earlier closing is not caught by the next one
  int held_ = 0;
};

}  // namespace gapless::driver

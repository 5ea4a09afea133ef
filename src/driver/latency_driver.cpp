// SPDX-License-Identifier: Apache-2.0
#include "driver/latency_driver.hpp"

namespace gapless::driver {

void LatencyDriver::close(Call call, std::uint64_t skip) {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  call_ = call;
  skip_ = skip;
}

void LatencyDriver::open() {
  const std::lock_guard lock(mutex_);
  closed_ = false;
  ++generation_;
  changed_.notify_all();
}

void LatencyDriver::wait_until_held(int threads) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return held_ >= threads; });
}

int LatencyDriver::held() const {
  const std::lock_guard lock(mutex_);
  return held_;
}

Result LatencyDriver::before(Call call) {
  std::unique_lock lock(mutex_);
  if (!closed_ || call != call_) return Result::ok;
  if (skip_ != 0) {
    --skip_;
    return Result::ok;
  }
  const std::uint64_t mine = generation_;
  ++held_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return generation_ != mine; });
  --held_;
  changed_.notify_all();
  return Result::ok;
}

}  // namespace gapless::driver

// SPDX-License-Identifier: Apache-2.0
#include "driver/fault_driver.hpp"

#include <iterator>

namespace gapless::driver {

void FaultDriver::add(Rule rule) {
  const std::lock_guard lock(mutex_);
  rules_.push_back(rule);
}

void FaultDriver::clear() {
  const std::lock_guard lock(mutex_);
  rules_.clear();
}

std::uint64_t FaultDriver::calls(Call call) const {
  const std::lock_guard lock(mutex_);
  return counts_[static_cast<std::size_t>(call)];
}

std::uint64_t FaultDriver::memory_calls() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t sum = 0;
  for (int i = 0; i < kCalls; ++i) {
    if (touches_memory(static_cast<Call>(i))) sum += counts_[static_cast<std::size_t>(i)];
  }
  return sum;
}

std::uint64_t FaultDriver::injected() const {
  const std::lock_guard lock(mutex_);
  return injected_;
}

const FaultDriver::Rule* FaultDriver::fire(Call call) {
  ++counts_[static_cast<std::size_t>(call)];
  for (Rule& rule : rules_) {
    if (rule.call ? *rule.call != call : rule.memory_only && !touches_memory(call)) continue;
    if (rule.skip != 0) {
      --rule.skip;
      continue;
    }
    if (rule.fail == 0) continue;
    if (rule.fail != UINT64_MAX) --rule.fail;
    ++injected_;
    return &rule;
  }
  return nullptr;
}

Result FaultDriver::before(Call call) {
  const std::lock_guard lock(mutex_);
  const Rule* rule = fire(call);
  return rule == nullptr ? Result::ok : rule->error;
}

// Whether some of [base, base + bytes) went with a call that failed. Now it is told.
bool FaultDriver::take_gone(Address base, std::size_t bytes) {
  auto it = gone_.lower_bound(base);
  if (it != gone_.begin() && std::prev(it)->first + std::prev(it)->second > base) --it;
  bool any = false;
  while (it != gone_.end() && it->first < base + bytes) {
    const Address start = it->first;
    const Address end = start + it->second;
    any = true;
    it = gone_.erase(it);
    if (start < base) gone_[start] = base - start;
    if (end > base + bytes) it = gone_.emplace(base + bytes, end - base - bytes).first;
  }
  return any;
}

Result FaultDriver::map(Address base, std::size_t bytes, Handle handle) {
  const Result result = ForwardingDriver::map(base, bytes, handle);
  const std::lock_guard lock(mutex_);
  if (result == Result::ok) take_gone(base, bytes);
  return result;
}

Result FaultDriver::unmap(Address base, std::size_t bytes) {
  std::unique_lock lock(mutex_);
  const Rule* rule = fire(Call::unmap);
  if (rule == nullptr) {
    if (!gone_.empty() && take_gone(base, bytes)) return Result::invalid_value;
    lock.unlock();
    return next().unmap(base, bytes);
  }
  const std::size_t partial = rule->partial_bytes;
  const Result error = rule->error;
  lock.unlock();
  if (partial != 0 && partial < bytes && next().unmap(base, partial) == Result::ok) {
    lock.lock();
    gone_[base] = partial;
  }
  return error;
}

Result FaultDriver::set_access(Address base, std::size_t bytes, std::span<const int> devices) {
  std::unique_lock lock(mutex_);
  const Rule* rule = fire(Call::set_access);
  if (rule == nullptr) {
    lock.unlock();
    return next().set_access(base, bytes, devices);
  }
  const std::size_t partial = rule->partial_bytes;
  const Result error = rule->error;
  lock.unlock();
  if (partial != 0 && partial < bytes) (void)next().set_access(base, partial, devices);
  return error;
}

}  // namespace gapless::driver

// SPDX-License-Identifier: Apache-2.0
#include "contexts.hpp"

#include <utility>
#include <vector>

namespace gapless::torch {

uint64_t ContextTable::add(Context context) {
  if (!context) return 0;
  const std::lock_guard<std::mutex> lock(mutex_);
  const uint64_t cookie = next_++;
  contexts_.emplace(cookie, std::move(context));
  return cookie;
}

Context ContextTable::find(uint64_t cookie) const {
  if (cookie == 0) return nullptr;
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = contexts_.find(cookie);
  return found == contexts_.end() ? nullptr : found->second;
}

void ContextTable::release(uint64_t cookie) {
  Context last;  // destroyed after the lock
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = contexts_.find(cookie);
  if (found == contexts_.end()) return;
  last = std::move(found->second);
  contexts_.erase(found);
}

void SegmentContexts::map(uint64_t address, size_t bytes, Context context) {
  if (!context || bytes == 0) return;
  unmap(address, bytes);
  const std::lock_guard<std::mutex> lock(mutex_);
  ranges_[address] = Range{address + bytes, std::move(context)};
}

void SegmentContexts::unmap(uint64_t address, size_t bytes) {
  const uint64_t end = address + bytes;
  std::vector<Context> dead;  // destroyed after the lock
  const std::lock_guard<std::mutex> lock(mutex_);
  auto at = ranges_.lower_bound(address);
  if (at != ranges_.begin() && std::prev(at)->second.end > address) {
    const auto before = std::prev(at);
    if (before->second.end > end) ranges_[end] = Range{before->second.end, before->second.context};
    before->second.end = address;
    at = std::next(before);
  }
  while (at != ranges_.end() && at->first < end) {
    if (at->second.end > end) ranges_[end] = Range{at->second.end, at->second.context};
    dead.push_back(std::move(at->second.context));
    at = ranges_.erase(at);
  }
}

Context SegmentContexts::at(uint64_t address) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto after = ranges_.upper_bound(address);
  if (after == ranges_.begin()) return nullptr;
  const auto& range = std::prev(after)->second;
  return address < range.end ? range.context : nullptr;
}

void SegmentContexts::clear() {
  std::map<uint64_t, Range> dead;
  const std::lock_guard<std::mutex> lock(mutex_);
  dead.swap(ranges_);
}

}  // namespace gapless::torch

// SPDX-License-Identifier: Apache-2.0
// What a trace tracker sees: NCCL's registration of user buffers is one. It registers each segment that is told of and
// takes back what goes, so a block outside of every registered range, a range told of twice, or one that goes without
// having come would be an error there.
#include <c10/cuda/CUDACachingAllocator.h>

#include <cstdint>
#include <iterator>
#include <map>
#include <mutex>

namespace {

using Entry = c10::cuda::CUDACachingAllocator::TraceEntry;

enum Found : int { kBlocks, kUncovered, kTwice, kNeverCame, kRegisteredBytes, kCounts };

// Of one process, which the case has to itself.
struct Registrar {
  std::mutex mutex;
  std::map<std::uint64_t, std::uint64_t> ranges;  // start to end, apart from each other or adjacent
  std::uint64_t found[kCounts] = {};

  bool covers(std::uint64_t first, std::uint64_t end) const {
    while (first < end) {
      auto at = ranges.upper_bound(first);
      if (at == ranges.begin() || (--at)->second <= first) return false;
      first = at->second;
    }
    return true;
  }
  void add(std::uint64_t first, std::uint64_t end) {
    const auto next = ranges.lower_bound(first);
    const bool overlaps =
        (next != ranges.end() && next->first < end) || (next != ranges.begin() && std::prev(next)->second > first);
    if (overlaps) found[kTwice]++;
    ranges[first] = end;
  }
  void remove(std::uint64_t first, std::uint64_t end) {
    if (!covers(first, end)) found[kNeverCame]++;
    auto at = ranges.upper_bound(first);
    if (at != ranges.begin()) --at;
    while (at != ranges.end() && at->first < end) {
      const auto [from, to] = *at;
      if (to <= first) {
        ++at;
        continue;
      }
      at = ranges.erase(at);
      if (from < first) ranges[from] = first;
      if (to > end) ranges[end] = to;
    }
  }
  void take(const Entry& entry) {
    const std::lock_guard<std::mutex> guard(mutex);
    const auto first = static_cast<std::uint64_t>(entry.addr_);
    const auto end = first + entry.size_;
    switch (entry.action_) {
      case Entry::SEGMENT_ALLOC:
      case Entry::SEGMENT_MAP:
        return add(first, end);
      case Entry::SEGMENT_FREE:
      case Entry::SEGMENT_UNMAP:
        return remove(first, end);
      case Entry::ALLOC:
        found[kBlocks]++;
        if (!covers(first, end)) found[kUncovered]++;
        return;
      default:
        return;
    }
  }
};

Registrar& registrar() {
  static auto* const one = new Registrar;
  return *one;
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) void tracker_attach() {
  c10::cuda::CUDACachingAllocator::attachAllocatorTraceTracker([](const Entry& entry) { registrar().take(entry); });
}

__attribute__((visibility("default"))) std::uint64_t tracker_found(int what) {
  const std::lock_guard<std::mutex> guard(registrar().mutex);
  if (what != kRegisteredBytes) return registrar().found[what];
  std::uint64_t bytes = 0;
  for (const auto& [first, end] : registrar().ranges) bytes += end - first;
  return bytes;
}
}

// SPDX-License-Identifier: Apache-2.0
// The guard looks at its blocks and says what it finds.
#include <algorithm>
#include <cstdio>
#include <mutex>

#include "driver/failed.hpp"
#include "guard/finding.hpp"
#include "guard/guard.hpp"
#include "stream/stream_key.hpp"

namespace gapless::guard {
namespace {

constexpr std::uint64_t kMostSaid = 32;  // findings on standard error
constexpr driver::Result kInvalidHandle{400};

}  // namespace

// Can a kernel be launched on the stream now? On a thread's own default stream only by that thread, and what is
// launched on a stream that captures would become part of the graph.
Status Guard::reach(int device, driver::Stream stream, bool& reachable) {
  reachable = false;
  if (stream::key_of(stream).thread != 0) return Status::ok;
  driver::CaptureInfo info;
  const driver::Result result = allocator_.ops().capture_info(device, stream, info);
  reachable = result == driver::Result::ok && info.status == driver::CaptureStatus::none;
  // The legacy default stream says so while a stream that waits for it captures. A stream that has ended is none.
  if (result == driver::Result::ok || result == driver::Result::stream_capture_implicit || result == kInvalidHandle)
    return Status::ok;
  return driver::failed(allocator_.ops(), "cuStreamGetCaptureInfo", result);
}

Status Guard::inspect_all(const std::vector<Block>& blocks, bool ours, Findings& findings) {
  if (passing_.load(std::memory_order_relaxed)) return Status::ok;
  std::map<driver::Stream, std::vector<const Block*>> by_stream;
  for (const Block& block : blocks) by_stream[block.stream()].push_back(&block);
  Status first = Status::ok;
  for (const auto& [stream, some] : by_stream) {
    bool can = false;
    Status status = reach(some.front()->device, stream, can);
    if (can) status = inspect(some, ours, findings);
    if (first == Status::ok) first = status;
  }
  return first;
}

// Of one stream: all in one look, and one by one only where something is broken.
Status Guard::inspect(const std::vector<const Block*>& blocks, bool ours, Findings& findings) {
  const int device = blocks.front()->device;
  const driver::Stream stream = blocks.front()->stream();
  std::vector<gapless_guard_range> ranges;
  for (const Block* const block : blocks) {
    ranges.push_back(block->zone());
    if (block->poisoned) ranges.push_back(block->body());
  }
  gapless_guard_report seen{};
  if (const Status status = patterns_.compare(device, stream, ranges, seen);
      status != Status::ok || seen.broken_bytes == 0)
    return status;
  for (const Block* const block : blocks)
    for (const gapless_guard_kind kind : {GAPLESS_GUARD_RED_ZONE, GAPLESS_GUARD_FREED}) {
      if (kind == GAPLESS_GUARD_FREED && !block->poisoned) continue;
      const gapless_guard_range range = kind == GAPLESS_GUARD_FREED ? block->body() : block->zone();
      if (const Status status = patterns_.compare(device, stream, std::span(&range, 1), seen); status != Status::ok)
        return status;
      if (seen.broken_bytes != 0) note(*block, kind, range, seen, ours, findings);
    }
  return Status::ok;
}

// Under the lock. What is neither live nor kept back any more is somebody else's memory by now.
bool Guard::is_there(const Block& block) {
  const auto same = [&](const Block& other) { return other.life.allocated == block.life.allocated; };
  if (const auto live = live_.find(block.address); live != live_.end()) return same(live->second);
  const std::deque<Block>& kept = quarantines_[block.device].blocks;
  return std::any_of(kept.begin(), kept.end(), same);
}

void Guard::note(const Block& block, gapless_guard_kind kind, const gapless_guard_range& range,
                 const gapless_guard_report& seen, bool ours, Findings& findings) {
  gapless_guard_finding finding{};
  finding.struct_size = sizeof finding;
  finding.device = block.device;
  finding.kind = kind;
  finding.block = block.life;
  finding.first_broken = reinterpret_cast<void*>(seen.first_broken);
  finding.broken_bytes = seen.broken_bytes;
  finding.expected = patterns_.expected(seen.first_broken, range.seed);
  static_cast<void>(patterns_.read(block.device, block.stream(), seen.first_broken, finding.found));
  const std::lock_guard guard(lock_);
  if (!ours && !is_there(block)) return;
  unsigned& told = told_[block.life.allocated];
  const unsigned this_kind = 1u << kind;
  if ((told & this_kind) != 0) return;
  told |= this_kind;
  if (const auto next = live_.find(block.end); next != live_.end()) finding.next = next->second.life;
  finding.earlier_count = history_.find(block.device, seen.first_broken, block.life.allocated, finding.earlier);
  findings.push_back({finding, ++found_});
}

// With no Hold: a hook may call anything.
void Guard::tell(const Findings& findings) {
  gapless_guard_hook hook = nullptr;
  void* user = nullptr;
  if (!findings.empty()) {
    const std::lock_guard guard(lock_);
    hook = hook_;
    user = hook_user_;
  }
  for (const Finding& finding : findings)
    if (hook != nullptr)
      hook(user, &finding.what);
    else if (finding.number <= kMostSaid)
      std::fputs(text_of(finding.what).c_str(), stderr);
}

// A kernel that is still under way on a stream without blocks may yet break what is looked at, so the device is waited
// for, where that breaks no capture.
Status Guard::wait(int device) {
  if (passing_.load(std::memory_order_relaxed)) return Status::ok;
  engine::DeviceAllocator* one = nullptr;
  const Status status = allocator_.peek(device, one);
  if (status != Status::ok || one == nullptr) return status;
  const Status waited = one->wait_for_device();
  return waited == Status::in_capture ? Status::ok : waited;
}

Status Guard::check(int device, std::uint64_t& found) {
  if (const Status status = wait(device); status != Status::ok) return status;
  Findings findings;
  Status status = Status::ok;
  {
    const Hold hold(*this, device);
    std::vector<Block> blocks;
    {
      const std::lock_guard guard(lock_);
      for (const auto& [address, block] : live_)
        if (block.device == device) blocks.push_back(block);
      for (const Block& block : quarantines_[device].blocks) blocks.push_back(block);
    }
    status = inspect_all(blocks, false, findings);
  }
  tell(findings);
  std::vector<Block> oldest;
  {
    const std::lock_guard guard(lock_);
    found = found_;
    if (quarantines_[device].holder == std::thread::id()) oldest = take_surplus(device);
  }
  let_go(std::move(oldest));
  return status;
}

}  // namespace gapless::guard

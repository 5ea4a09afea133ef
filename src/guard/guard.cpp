// SPDX-License-Identifier: Apache-2.0
#include "guard/guard.hpp"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <mutex>

#include "guard/finding.hpp"
#include "stream/stream_key.hpp"

namespace gapless::guard {
namespace {

constexpr std::uint64_t kRounding = 512;
constexpr std::uint64_t kLargestGuarded = std::uint64_t{1} << 39;  // no device has a block like that
constexpr std::uint64_t kMostSaid = 32;                            // findings on standard error

std::uint64_t with_zone(std::uint64_t bytes) {
  return (bytes + kRounding - 1) / kRounding * kRounding + kZoneBytes;
}

}  // namespace

Status Guard::open(engine::Allocator& allocator, std::uint64_t quarantine, std::unique_ptr<Guard>& out) {
  const constant::KernelsLibrary* kernels = nullptr;
  if (const Status status = constant::KernelsLibrary::open(kernels); status != Status::ok) return status;
  out.reset(new Guard(allocator, *kernels, quarantine));
  return Status::ok;
}

// Can a kernel be launched on the stream now? On a thread's own default stream only by that thread, and what is
// launched on a stream that captures would become part of the graph.
bool Guard::reachable(int device, driver::Stream stream) {
  if (stream::key_of(stream).thread != 0) return false;
  driver::CaptureInfo info;
  const driver::Result result = allocator_.ops().capture_info(device, stream, info);
  return result == driver::Result::ok && info.status == driver::CaptureStatus::none;
}

std::uint64_t Guard::step_of(int device) {
  engine::DeviceAllocator* one = nullptr;
  return allocator_.peek(device, one) == Status::ok && one != nullptr ? one->step_start().steps : 0;
}

Status Guard::allocate(int device, driver::Stream stream, std::uint64_t bytes, void** out) {
  if (passing_.load(std::memory_order_relaxed) || bytes >= kLargestGuarded || !reachable(device, stream))
    return allocator_.allocate(device, stream, bytes, out);
  const bool room = patterns_.make_room(device, stream) == Status::ok;
  const std::uint64_t whole = with_zone(bytes);
  if (const Status status = allocator_.allocate(device, stream, whole, out); status != Status::ok) return status;
  Block block;
  block.device = device;
  block.address = reinterpret_cast<std::uint64_t>(*out);
  block.bytes = bytes;
  block.end = block.address + whole;
  block.life.address = *out;
  block.life.requested_bytes = bytes;
  block.life.stream = stream;
  block.life.step_allocated = step_of(device);
  {
    const std::lock_guard guard(lock_);
    block.life.allocated = ++allocations_;
  }
  const gapless_guard_range zone = block.zone();
  // A block that cannot be guarded is a block all the same.
  if (!room || patterns_.fill(device, stream, std::span(&zone, 1)) != Status::ok) return Status::ok;
  const std::lock_guard guard(lock_);
  live_.emplace(block.address, std::move(block));
  return Status::ok;
}

void Guard::note_use(void* pointer, driver::Stream stream) {
  const std::lock_guard guard(lock_);
  const auto found = live_.find(reinterpret_cast<std::uint64_t>(pointer));
  if (found == live_.end()) return;
  std::vector<driver::Stream>& others = found->second.others;
  if (stream != found->second.stream() && std::find(others.begin(), others.end(), stream) == others.end())
    others.push_back(stream);
}

// The block's own stream comes after the work of all others that use it, so that the pattern is not written too early.
bool Guard::order_after_uses(const Block& block) {
  driver::DriverOps& ops = allocator_.ops();
  return std::all_of(block.others.begin(), block.others.end(), [&](driver::Stream other) {
    driver::Event event = nullptr;
    if (!reachable(block.device, other) || ops.event_create(block.device, event) != driver::Result::ok) return false;
    const bool ordered = ops.event_record(block.device, event, other) == driver::Result::ok &&
                         ops.stream_wait_event(block.device, block.stream(), event) == driver::Result::ok;
    static_cast<void>(ops.event_destroy(block.device, event));
    return ordered;
  });
}

Status Guard::deallocate(void* pointer) {
  if (passing_.load(std::memory_order_relaxed)) return allocator_.deallocate(pointer);
  Block block;
  {
    const std::lock_guard guard(lock_);
    const auto found = live_.find(reinterpret_cast<std::uint64_t>(pointer));
    if (found == live_.end()) {
      for (const auto& [device, quarantine] : quarantines_)
        for (const Block& kept : quarantine.blocks)
          if (kept.life.address == pointer)
            return base::fail(Status::unknown_pointer,
                              "freed twice: allocation " + std::to_string(kept.life.allocated) + " of " +
                                  std::to_string(kept.bytes) + " bytes, freed after allocation " +
                                  std::to_string(kept.life.freed));
    } else {
      block = std::move(found->second);
      live_.erase(found);
      block.life.freed = allocations_;
    }
  }
  if (block.life.allocated == 0) return allocator_.deallocate(pointer);
  block.life.step_freed = step_of(block.device);
  const gapless_guard_range body = block.body();
  const bool poisoned = reachable(block.device, block.stream()) && order_after_uses(block) &&
                        patterns_.fill(block.device, block.stream(), std::span(&body, 1)) == Status::ok;
  const int device = block.device;
  std::vector<Block> oldest;
  {
    const std::lock_guard guard(lock_);
    if (!poisoned) {
      history_.add(device, block.life);
      told_.erase(block.life.allocated);
    } else {
      Quarantine& quarantine = quarantines_[device];
      quarantine.bytes += block.end - block.address;
      quarantine.blocks.push_back(std::move(block));
      // By halves, so that one look is for many.
      if (quarantine.bytes > most_) oldest = take_oldest(device, most_ / 2);
    }
  }
  if (!poisoned) return allocator_.deallocate(pointer);
  let_go(std::move(oldest));
  return Status::ok;
}

// Under the lock.
std::vector<Block> Guard::take_oldest(int device, std::uint64_t keep) {
  std::vector<Block> taken;
  Quarantine& quarantine = quarantines_[device];
  while (quarantine.bytes > keep) {
    quarantine.bytes -= quarantine.blocks.front().end - quarantine.blocks.front().address;
    taken.push_back(std::move(quarantine.blocks.front()));
    quarantine.blocks.pop_front();
  }
  return taken;
}

// Looks at them and gives them to the engine. A capture of their stream keeps them from being looked at.
void Guard::let_go(std::vector<Block> blocks) {
  inspect_all(blocks, true);
  {
    const std::lock_guard guard(lock_);
    for (const Block& block : blocks) {
      history_.add(block.device, block.life);
      told_.erase(block.life.allocated);
    }
  }
  for (const Block& block : blocks) static_cast<void>(allocator_.deallocate(block.life.address));
}

void Guard::inspect_all(const std::vector<Block>& blocks, bool ours) {
  if (passing_.load(std::memory_order_relaxed)) return;
  std::map<driver::Stream, std::vector<const Block*>> by_stream;
  for (const Block& block : blocks) by_stream[block.stream()].push_back(&block);
  for (const auto& [stream, some] : by_stream)
    if (reachable(some.front()->device, stream)) inspect(some, ours);
}

// Of one stream: all in one look, and one by one only where something is broken.
void Guard::inspect(const std::vector<const Block*>& blocks, bool ours) {
  const int device = blocks.front()->device;
  const driver::Stream stream = blocks.front()->stream();
  std::vector<gapless_guard_range> ranges;
  for (const Block* const block : blocks) {
    ranges.push_back(block->zone());
    if (block->life.freed != 0) ranges.push_back(block->body());
  }
  gapless_guard_report seen{};
  if (patterns_.compare(device, stream, ranges, seen) != Status::ok || seen.broken_bytes == 0) return;
  for (const Block* const block : blocks)
    for (const gapless_guard_kind kind : {GAPLESS_GUARD_RED_ZONE, GAPLESS_GUARD_FREED}) {
      if (kind == GAPLESS_GUARD_FREED && block->life.freed == 0) continue;
      const gapless_guard_range range = kind == GAPLESS_GUARD_FREED ? block->body() : block->zone();
      if (patterns_.compare(device, stream, std::span(&range, 1), seen) == Status::ok && seen.broken_bytes != 0)
        report(*block, kind, range, seen, ours);
    }
}

// Under the lock. What is neither live nor kept back any more is somebody else's memory by now.
bool Guard::is_there(const Block& block) {
  const auto same = [&](const Block& other) { return other.life.allocated == block.life.allocated; };
  if (const auto live = live_.find(block.address); live != live_.end()) return same(live->second);
  const std::deque<Block>& kept = quarantines_[block.device].blocks;
  return std::any_of(kept.begin(), kept.end(), same);
}

void Guard::report(const Block& block, gapless_guard_kind kind, const gapless_guard_range& range,
                   const gapless_guard_report& seen, bool ours) {
  gapless_guard_finding finding{};
  finding.struct_size = sizeof finding;
  finding.device = block.device;
  finding.kind = kind;
  finding.block = block.life;
  finding.first_broken = reinterpret_cast<void*>(seen.first_broken);
  finding.broken_bytes = seen.broken_bytes;
  finding.expected = patterns_.expected(seen.first_broken, range.seed);
  static_cast<void>(patterns_.read(block.device, block.stream(), seen.first_broken, finding.found));
  gapless_guard_hook hook = nullptr;
  void* user = nullptr;
  std::uint64_t number = 0;
  {
    const std::lock_guard guard(lock_);
    if (!ours && !is_there(block)) return;
    unsigned& told = told_[block.life.allocated];
    const unsigned this_kind = 1u << kind;
    if ((told & this_kind) != 0) return;
    told |= this_kind;
    if (const auto next = live_.find(block.end); next != live_.end()) finding.next = next->second.life;
    finding.earlier_count = history_.find(block.device, seen.first_broken, block.life.allocated, finding.earlier);
    hook = hook_;
    user = hook_user_;
    number = ++found_;
  }
  if (hook != nullptr)
    hook(user, &finding);
  else if (number <= kMostSaid)
    std::fputs(text_of(finding).c_str(), stderr);
}

Status Guard::check(int device, std::uint64_t& found) {
  std::vector<Block> blocks;
  {
    const std::lock_guard guard(lock_);
    for (const auto& [address, block] : live_)
      if (block.device == device) blocks.push_back(block);
    for (const Block& block : quarantines_[device].blocks) blocks.push_back(block);
  }
  inspect_all(blocks, false);
  const std::lock_guard guard(lock_);
  found = found_;
  return Status::ok;
}

bool Guard::flush(int device) {
  std::vector<Block> all;
  {
    const std::lock_guard guard(lock_);
    all = take_oldest(device, 0);
  }
  const bool any = !all.empty();
  let_go(std::move(all));
  return any;
}

// What lies on a stream that ends can be reached no longer: it is looked at now, or goes unguarded from here on.
void Guard::forget_stream(int device, driver::Stream stream) {
  std::vector<Block> blocks;
  {
    const std::lock_guard guard(lock_);
    Quarantine& quarantine = quarantines_[device];
    std::deque<Block> others;
    for (Block& block : quarantine.blocks) {
      if (block.stream() == stream) {
        quarantine.bytes -= block.end - block.address;
        blocks.push_back(std::move(block));
      } else {
        others.push_back(std::move(block));
      }
    }
    quarantine.blocks = std::move(others);
    std::erase_if(live_, [&](const auto& entry) {
      const Block& block = entry.second;
      return block.device == device && (block.stream() == stream || std::find(block.others.begin(), block.others.end(),
                                                                              stream) != block.others.end());
    });
  }
  let_go(std::move(blocks));
}

Status Guard::close() {
  std::vector<int> devices;
  {
    const std::lock_guard guard(lock_);
    for (const auto& [device, quarantine] : quarantines_) devices.push_back(device);
  }
  for (const int device : devices) flush(device);
  return patterns_.close();
}

void Guard::set_hook(gapless_guard_hook hook, void* user) {
  const std::lock_guard guard(lock_);
  hook_ = hook;
  hook_user_ = user;
}

}  // namespace gapless::guard

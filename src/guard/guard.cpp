// SPDX-License-Identifier: Apache-2.0
#include "guard/guard.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>

namespace gapless::guard {
namespace {

constexpr std::uint64_t kRounding = 512;
constexpr std::uint64_t kLargestGuarded = std::uint64_t{1} << 39;  // no device has a block like that
constexpr std::chrono::microseconds kPause{50};

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

bool Guard::reachable(int device, driver::Stream stream) {
  bool can = false;
  return reach(device, stream, can) == Status::ok && can;
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
  live_.insert_or_assign(block.address, std::move(block));
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
  block.poisoned = reachable(block.device, block.stream()) && order_after_uses(block) &&
                   patterns_.fill(block.device, block.stream(), std::span(&body, 1)) == Status::ok;
  const int device = block.device;
  std::vector<Block> oldest;
  bool kept = true;
  {
    const std::lock_guard guard(lock_);
    Quarantine& quarantine = quarantines_[device];
    const bool held = quarantine.holder != std::thread::id();
    kept = block.poisoned || held;
    if (!kept) {
      history_.add(device, block.life);
      told_.erase(block.life.allocated);
    } else {
      quarantine.bytes += block.end - block.address;
      quarantine.blocks.push_back(std::move(block));
      if (!held) oldest = take_surplus(device);
    }
  }
  if (!kept) return allocator_.deallocate(pointer);
  let_go(std::move(oldest));
  return Status::ok;
}

Guard::Hold::Hold(Guard& guard, int device) : guard_(guard), device_(device) {
  const std::thread::id self = std::this_thread::get_id();
  for (;; std::this_thread::sleep_for(kPause)) {
    const std::lock_guard lock(guard_.lock_);
    std::thread::id& holder = guard_.quarantines_[device].holder;
    if (holder == self) return;
    if (holder != std::thread::id()) continue;
    holder = self;
    mine_ = true;
    return;
  }
}

Guard::Hold::~Hold() {
  if (!mine_) return;
  const std::lock_guard lock(guard_.lock_);
  guard_.quarantines_[device_].holder = {};
}

void Guard::forget(int device, std::span<const std::uint64_t> addresses) {
  const std::lock_guard guard(lock_);
  for (const std::uint64_t address : addresses)
    if (const auto live = live_.find(address); live != live_.end()) {
      told_.erase(live->second.life.allocated);
      live_.erase(live);
    }
  Quarantine& quarantine = quarantines_[device];
  std::erase_if(quarantine.blocks, [&](const Block& block) {
    if (std::find(addresses.begin(), addresses.end(), block.address) == addresses.end()) return false;
    quarantine.bytes -= block.end - block.address;
    told_.erase(block.life.allocated);
    return true;
  });
}

// Under the lock. By halves, so that one look is for many.
std::vector<Block> Guard::take_surplus(int device) {
  return quarantines_[device].bytes > most_ ? take_oldest(device, most_ / 2) : std::vector<Block>();
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
  Findings findings;
  static_cast<void>(inspect_all(blocks, true, findings));
  tell(findings);
  {
    const std::lock_guard guard(lock_);
    for (const Block& block : blocks) {
      history_.add(block.device, block.life);
      told_.erase(block.life.allocated);
    }
  }
  for (const Block& block : blocks) static_cast<void>(allocator_.deallocate(block.life.address));
}

bool Guard::flush(int device) {
  std::vector<Block> all;
  {
    const Hold hold(*this, device);
    if (!hold) return false;
    const std::lock_guard guard(lock_);
    all = take_oldest(device, 0);
  }
  const bool any = !all.empty();
  let_go(std::move(all));
  return any;
}

void Guard::withdraw(int device) {
  if (passing_.load(std::memory_order_relaxed)) return;
  flush(device);
  static_cast<void>(patterns_.give_room_back(device));
}

// What lies on a stream that ends can be reached no longer: it is looked at now, or goes unguarded from here on.
void Guard::forget_stream(int device, driver::Stream stream) {
  std::vector<Block> blocks;
  {
    const Hold hold(*this, device);
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

// SPDX-License-Identifier: Apache-2.0
// Physical handles made ahead of need (option background_creation), so that the driver's time for them is not the
// allocating thread's.
//
// step() makes one handle. A thread of the library calls it while memory grows, or the program does
// (gapless_create_ahead). A miss says what it lacks and how far physical memory may grow; until it is served it and
// step() work side by side. Beyond what a miss lacks, handles are made ahead: at most a twentieth of what is reserved,
// never above the bound that the miss gave, so that no bound on memory depends on who makes a handle.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/lock.hpp"
#include "driver/driver.hpp"

namespace gapless::engine {

struct DeviceState;

class Creator {
 public:
  explicit Creator(DeviceState& state);
  ~Creator();
  Creator(const Creator&) = delete;
  Creator& operator=(const Creator&) = delete;

  // Makes a handle, if one is wanted and the driver gives it. Any thread; not under the fast lock.
  bool step();

  // ---- under the map lock, not under the fast lock
  // A miss lacks so many handles besides the one that it is making itself; physical bytes may grow to `bound`.
  void want(std::uint64_t handles, std::uint64_t bound);
  // A handle that is ready. It counts as physical and reserved already.
  bool take(driver::Handle& out);
  // Waits for the handle that is being made; none is made until the next want().
  void pause();

  // Ready, or being made. Under the fast lock.
  std::uint64_t handles() const { return ready_count_ + (making_ ? 1 : 0); }
  // Bytes of the one being made: they are physical already, but not reserved. Under the fast lock.
  std::uint64_t bytes_being_made() const;

  // Around fork(): held over it, between the map and the fast lock. A child has no thread.
  base::CreatorLock& step_lock() { return step_lock_; }
  void abandon_thread();
  // Ends the thread. No lock held.
  void stop();

 private:
  struct Worker;
  bool make_room();
  bool reserve(bool& ahead);
  bool scarce();
  void wake();

  DeviceState& state_;
  base::CreatorLock step_lock_;  // held while a handle is made
  std::uint64_t made_ahead_ = 0;
  std::atomic<bool> active_{false};  // somebody makes steps
  std::unique_ptr<Worker> worker_;   // map lock

  // Fast lock.
  std::uint64_t wanted_ = 0;
  std::uint64_t bound_ = 0;
  bool paused_ = true;
  bool making_ = false;
  std::uint64_t ready_count_ = 0;

  base::LeafLock ready_lock_;
  std::vector<driver::Handle> ready_;
};

}  // namespace gapless::engine

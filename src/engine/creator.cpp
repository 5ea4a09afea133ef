// SPDX-License-Identifier: Apache-2.0
#include "engine/creator.hpp"

#include <csignal>

#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

#include "engine/device_state.hpp"
#include "policy/growth.hpp"

namespace gapless::engine {

using driver::Result;

namespace {
// So many handles are made ahead between two questions whether others need the device's memory.
constexpr std::uint64_t kMadeBetweenLooks = 16;
}  // namespace

struct Creator::Worker {
  std::mutex mutex;
  std::condition_variable wakes;
  std::uint64_t calls = 0;
  std::atomic<bool> stop{false};
  std::thread thread;

  void run(Creator& creator, driver::DriverOps& ops) {
    int mode = 2;  // CU_STREAM_CAPTURE_MODE_RELAXED: a capture elsewhere must not be broken by what is made here
    static_cast<void>(ops.exchange_capture_mode(mode));
    std::unique_lock lock(mutex);
    for (std::uint64_t seen = 0; !stop;) {
      seen = calls;
      lock.unlock();
      while (!stop && creator.step()) {
      }
      lock.lock();
      wakes.wait(lock, [&] { return stop || calls != seen; });
    }
  }
};

Creator::Creator(DeviceState& state) : state_(state) {}

Creator::~Creator() {
  stop();
}

void Creator::stop() {
  if (worker_ == nullptr) return;
  {
    const std::lock_guard guard(worker_->mutex);
    worker_->stop = true;
  }
  worker_->wakes.notify_one();
  worker_->thread.join();
  worker_.reset();
}

void Creator::abandon_thread() {
  // Its thread does not exist here: neither a join nor the end of what it waits on would ever return.
  static_cast<void>(worker_.release());
}

void Creator::wake() {
  if (!state_.options.background_creation) return;
  // Before its first step: what pauses it meanwhile must not take it for nobody.
  active_.store(true, std::memory_order_relaxed);
  if (worker_ == nullptr) {
    // Signals are for the program's own threads.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      worker_ = std::make_unique<Worker>();
      worker_->thread = std::thread([this, worker = worker_.get()] { worker->run(*this, state_.ops); });
    } catch (const std::exception&) {
      worker_.reset();  // the host gives no thread, or no memory for one: the next miss asks again
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (worker_ == nullptr) return;
  }
  {
    const std::lock_guard guard(worker_->mutex);
    worker_->calls++;
  }
  worker_->wakes.notify_one();
}

void Creator::want(std::uint64_t handles, std::uint64_t bound) {
  if (!state_.options.background_creation && !active_.load(std::memory_order_relaxed)) return;
  bool changed;
  {
    const std::lock_guard guard(state_.fast);
    changed = paused_ || bound > bound_ || handles > wanted_;
    wanted_ = handles;
    bound_ = bound;
    paused_ = false;
  }
  if (changed) wake();
}

// For one more handle, before it exists.
bool Creator::make_room() {
  const std::lock_guard guard(ready_lock_);
  try {
    if (ready_.size() == ready_.capacity()) ready_.reserve(2 * ready_.size() + 16);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

// The bytes of one more handle, if it is wanted.
bool Creator::reserve(bool& ahead) {
  const std::lock_guard guard(state_.fast);
  if (paused_ || policy::can_create(state_.physical, bound_, state_.granule) == 0) return false;
  ahead = ready_count_ >= wanted_;
  if (ahead && (ready_count_ + 1) * state_.granule > state_.physical / policy::kPartAhead) return false;
  state_.physical += state_.granule;
  making_ = true;
  return true;
}

// Does the device have little left that this process does not hold? Then it is for others who need it.
bool Creator::scarce() {
  driver::MemoryInfo memory;
  return state_.ops.memory_info(state_.device, memory) != Result::ok ||
         memory.free_bytes < memory.total_bytes / policy::kPartLeftToOthers;
}

bool Creator::step() {
  active_.store(true, std::memory_order_relaxed);
  const std::lock_guard step(step_lock_);
  bool ahead = false;
  if (!make_room() || !reserve(ahead)) return false;
  driver::Handle handle = 0;
  const bool look = ahead && made_ahead_++ % kMadeBetweenLooks == 0;
  const bool made =
      !(look && scarce()) && state_.ops.create(state_.device, state_.granule, state_.handles, handle) == Result::ok;
  if (made) {
    const std::lock_guard guard(ready_lock_);
    ready_.push_back(handle);
  }
  const std::lock_guard guard(state_.fast);
  making_ = false;
  if (made) {
    ready_count_++;
    state_.counters.creates++;
    state_.counters.on_reserved(heap::SizeClass::large, static_cast<std::int64_t>(state_.granule));
  } else {
    state_.physical -= state_.granule;
    paused_ = true;  // until a miss makes one by itself
  }
  return made;
}

bool Creator::take(driver::Handle& out) {
  if (!active_.load(std::memory_order_relaxed)) return false;
  {
    const std::lock_guard guard(ready_lock_);
    if (ready_.empty()) return false;
    out = ready_.back();
    ready_.pop_back();
  }
  const std::lock_guard guard(state_.fast);
  ready_count_--;
  return true;
}

void Creator::pause() {
  if (!active_.load(std::memory_order_relaxed)) return;
  {
    const std::lock_guard guard(state_.fast);
    paused_ = true;
    wanted_ = 0;
  }
  const std::lock_guard step(step_lock_);
}

std::uint64_t Creator::bytes_being_made() const {
  return making_ ? state_.granule : 0;
}

}  // namespace gapless::engine

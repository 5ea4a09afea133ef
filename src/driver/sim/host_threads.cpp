// SPDX-License-Identifier: Apache-2.0
#include "driver/sim/host_threads.hpp"

#include <pthread.h>

#include <mutex>

namespace gapless::driver::sim {
namespace {

struct ThisThread {
  std::uint32_t id = 0;  // 0: no place yet
  std::uint32_t place = 0;
};
thread_local constinit ThisThread this_thread{};

// The places of the process's threads, for all machines. Never destroyed: threads end after static objects have gone.
// A key's destructor gives the place back and not a thread_local object's: those run before it, and they call CUDA.
class Places {
 public:
  Places() {
    ::pthread_key_create(&key_, [](void*) { places().give(); });
  }

  static Places& places() {
    static auto* const all = new Places;
    return *all;
  }

  void take() {
    {
      const std::lock_guard lock(mutex_);
      this_thread.id = ++threads_;
      if (free_.empty()) {
        this_thread.place = made_++;
      } else {
        this_thread.place = free_.back();
        free_.pop_back();
      }
    }
    ::pthread_setspecific(key_, this);  // any value but null
  }

 private:
  void give() {
    const std::lock_guard lock(mutex_);
    free_.push_back(this_thread.place);
    this_thread = {};
  }

  pthread_key_t key_{};
  std::mutex mutex_;
  std::uint32_t threads_ = 0;
  std::uint32_t made_ = 0;
  std::vector<std::uint32_t> free_;
};

}  // namespace

HostThread& HostThreads::current() {
  if (this_thread.id == 0) [[unlikely]] {
    Places::places().take();
  }
  const ThisThread self = this_thread;
  if (self.place >= threads_.size()) threads_.resize(self.place + 1);
  std::unique_ptr<HostThread>& thread = threads_[self.place];
  if (thread == nullptr || thread->id != self.id) {
    if (thread != nullptr)
      left_streams_.insert(left_streams_.end(), thread->default_streams.begin(), thread->default_streams.end());
    thread = std::make_unique<HostThread>();
    thread->id = self.id;
  }
  return *thread;
}

Clock& HostThreads::clock() {
  return separate_ ? current().clock : shared_;
}

}  // namespace gapless::driver::sim

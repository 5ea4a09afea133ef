// SPDX-License-Identifier: Apache-2.0
//
// torch.cuda.memory._record_memory_history: the ring of trace entries of each device, annotations, contexts and the
// trace trackers (NCCL's registration). Fed by one gapless listener; with history off and no tracker there is no
// listener.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "compat.hpp"
#include "contexts.hpp"
#include "gapless/gapless.h"

namespace gapless::torch {

/// The last `capacity` entries, oldest first. Not thread-safe.
template <typename Entry>
class Ring {
 public:
  void set_capacity(size_t capacity) {
    capacity_ = capacity == 0 ? 1 : capacity;
    if (entries_.size() > capacity_) clear();
  }
  void clear() {
    next_ = 0;
    std::vector<Entry>().swap(entries_);
  }
  void insert(Entry entry) {
    if (entries_.size() < capacity_) {
      entries_.push_back(std::move(entry));
    } else {
      entries_[next_] = std::move(entry);
      next_ = (next_ + 1) % capacity_;
    }
  }
  std::vector<Entry> copy() const {
    std::vector<Entry> result;
    result.reserve(entries_.size());
    for (size_t i = 0; i < entries_.size(); ++i) result.push_back(entries_[(next_ + i) % entries_.size()]);
    return result;
  }

 private:
  size_t capacity_ = 1;
  size_t next_ = 0;  // the oldest entry, once full
  std::vector<Entry> entries_;
};

class History {
 public:
  struct Settings {
    bool enabled = false;
    cca::CreateContextFn gather = nullptr;
    size_t max_entries = 1;
    cca::RecordContext when = cca::RecordContext::NEVER;
    bool clear = false;
    std::vector<std::string> skip_actions;
  };

  /// Makes the context of one allocator call known to the listener, which gapless calls on the same thread while the
  /// call runs. Gathers on construction if the level is at least `level`.
  class Scope {
   public:
    Scope(History& history, cca::RecordContext level);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Context outer_;  // scopes nest when a pool's segment source allocates
  };

  void set_device_count(size_t devices);
  void record(const Settings& settings);
  bool enabled() const noexcept { return enabled_.load(std::memory_order_acquire); }
  /// Must contexts be gathered before the allocator is entered?
  bool gathers() const noexcept { return level() > cca::RecordContext::NEVER; }
  cca::RecordContext level() const noexcept { return level_.load(std::memory_order_acquire); }

  void add_tracker(cca::AllocatorTraceTracker tracker);
  /// The listener to give to gapless: what is wanted now.
  gapless_listener listener() noexcept;
  /// Does anyone want entries now?
  bool listens() const noexcept { return enabled() || has_trackers_.load(std::memory_order_acquire); }
  bool ever_listened() const noexcept { return ever_listened_; }

  void annotate(const std::vector<std::pair<std::string, std::string>>& metadata, DeviceIndex device);
  void push_compile_context(std::string context);
  void pop_compile_context();
  static void set_user_metadata(std::string metadata);
  static std::string user_metadata();

  /// Adds one entry as if the allocator had reported it.
  void add(cca::TraceEntry::Action action, DeviceIndex device, size_t address, size_t bytes, void* stream,
           const MempoolId_t& pool, Context context);

  /// The entry of a request of this thread that failed, with the context of the call.
  void add_out_of_memory(DeviceIndex device, size_t device_free, size_t bytes, cudaStream_t stream);

  // Copies for a snapshot, with times turned from clock ticks into the units that PyTorch's snapshot holds.
  std::vector<cca::TraceEntry> trace(DeviceIndex device);
  std::vector<AnnotationEntry> annotations();
  Context block_context(uint64_t cookie) const { return blocks_.find(cookie); }
  Context segment_context(uint64_t address) const { return segments_.at(address); }

 private:
  static uint64_t on_event(void* user, const gapless_event* event);
  static void release_cookie(void* user, uint64_t cookie);
  uint64_t handle(const gapless_event& event);

  struct Device {
    std::mutex mutex;
    Ring<cca::TraceEntry> ring;
  };

  std::atomic<bool> enabled_{false};
  std::atomic<bool> has_trackers_{false};
  std::atomic<cca::RecordContext> level_{cca::RecordContext::NEVER};
  std::atomic<cca::CreateContextFn> gather_{nullptr};
  std::atomic<uint32_t> skipped_{0};  // bit k: action k stays out of the ring
  bool ever_listened_ = false;

  ContextTable blocks_;
  SegmentContexts segments_;

  mutable std::mutex mutex_;  // settings, the trackers' list, annotations
  Settings settings_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::shared_ptr<const std::vector<cca::AllocatorTraceTracker>> trackers_;
  Ring<AnnotationEntry> annotations_;
  c10::ApproximateClockToUnixTimeConverter clock_;
};

}  // namespace gapless::torch

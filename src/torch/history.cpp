// SPDX-License-Identifier: Apache-2.0
#include "history.hpp"

#include <stack>
#include <utility>

namespace gapless::torch {

namespace {

using Action = cca::TraceEntry::Action;

thread_local Context call_context;  // of the allocator call that this thread is in
thread_local std::stack<std::string> compile_contexts;
thread_local std::string metadata_of_thread;

Action action_of(gapless_event_kind kind) {
  switch (kind) {
    case GAPLESS_EVENT_ALLOC:
      return Action::ALLOC;
    case GAPLESS_EVENT_FREE_REQUESTED:
      return Action::FREE_REQUESTED;
    case GAPLESS_EVENT_FREE_COMPLETED:
      return Action::FREE_COMPLETED;
    case GAPLESS_EVENT_SEGMENT_ALLOC:
      return Action::SEGMENT_ALLOC;
    case GAPLESS_EVENT_SEGMENT_FREE:
      return Action::SEGMENT_FREE;
    case GAPLESS_EVENT_SEGMENT_MAP:
      return Action::SEGMENT_MAP;
    case GAPLESS_EVENT_SEGMENT_UNMAP:
      return Action::SEGMENT_UNMAP;
    case GAPLESS_EVENT_OOM:
      return Action::OOM;
  }
  return Action::OOM;
}

// All but the OOM: PyTorch's entry holds what was asked for, which raise_out_of_memory knows exactly.
constexpr uint32_t kAllEvents = (uint32_t{1} << GAPLESS_EVENT_OOM) - 1;

uint32_t skipped_actions(const std::vector<std::string>& names) {
  uint32_t skipped = 0;
#if GAPLESS_TORCH_MINOR >= 11
  for (const std::string& name : names) {
    skipped |= uint32_t{1} << static_cast<uint32_t>(c10::CachingDeviceAllocator::parseTraceEntryAction(name));
  }
#else
  (void)names;
#endif
  return skipped;
}

}  // namespace

History::Scope::Scope(History& history, cca::RecordContext level) : outer_(std::move(call_context)) {
  call_context = nullptr;
  if (history.level() < level) return;
  if (const cca::CreateContextFn gather = history.gather_.load(std::memory_order_acquire)) call_context = gather();
}

History::Scope::~Scope() {
  call_context = std::move(outer_);
}

void History::set_device_count(size_t devices) {
  const std::lock_guard<std::mutex> lock(mutex_);
  while (devices_.size() < devices) {
    devices_.push_back(std::make_unique<Device>());
    devices_.back()->ring.set_capacity(settings_.max_entries);
  }
}

void History::record(const Settings& settings) {
  TORCH_CHECK(settings.when == cca::RecordContext::NEVER || settings.gather != nullptr);
  const uint32_t skipped =
      skipped_actions(settings.skip_actions);  // throws on an unknown name, before anything changes
  const bool clear = !settings.enabled || settings.clear;
  const std::lock_guard<std::mutex> lock(mutex_);
  settings_ = settings;
  skipped_.store(skipped, std::memory_order_release);
  gather_.store(settings.enabled ? settings.gather : nullptr, std::memory_order_release);
  level_.store(settings.enabled ? settings.when : cca::RecordContext::NEVER, std::memory_order_release);
  annotations_.set_capacity(settings.max_entries);
  if (clear) annotations_.clear();
  for (const auto& device : devices_) {
    const std::lock_guard<std::mutex> device_lock(device->mutex);
    device->ring.set_capacity(settings.max_entries);
    if (clear) device->ring.clear();
  }
  if (!settings.enabled) segments_.clear();
  enabled_.store(settings.enabled, std::memory_order_release);
}

void History::add_tracker(cca::AllocatorTraceTracker tracker) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto trackers = trackers_ ? std::make_shared<std::vector<cca::AllocatorTraceTracker>>(*trackers_)
                            : std::make_shared<std::vector<cca::AllocatorTraceTracker>>();
  trackers->push_back(std::move(tracker));
  trackers_ = std::move(trackers);
  has_trackers_.store(true, std::memory_order_release);
}

gapless_listener History::listener() noexcept {
  gapless_listener listener = GAPLESS_STRUCT(gapless_listener);
  listener.user = this;
  // With history off the listener stays, for no event: blocks may still hold cookies that must be released.
  listener.kinds = listens() ? kAllEvents : 0;
  listener.on_event = &History::on_event;
  listener.release_cookie = &History::release_cookie;
  if (listener.kinds != 0) ever_listened_ = true;
  return listener;
}

uint64_t History::on_event(void* user, const gapless_event* event) {
  try {
    return static_cast<History*>(user)->handle(*event);
  } catch (const std::exception& error) {
    TORCH_WARN_ONCE("gapless: a memory event was not recorded: ", error.what());
    return 0;
  }
}

void History::release_cookie(void* user, uint64_t cookie) {
  static_cast<History*>(user)->blocks_.release(cookie);
}

uint64_t History::handle(const gapless_event& event) {
  Context context = call_context;
  uint64_t cookie = 0;
  switch (event.kind) {
    case GAPLESS_EVENT_ALLOC:
      cookie = blocks_.add(context);
      break;
    case GAPLESS_EVENT_FREE_REQUESTED:
    case GAPLESS_EVENT_FREE_COMPLETED:
      if (!context) context = blocks_.find(event.cookie);
      break;
    case GAPLESS_EVENT_SEGMENT_ALLOC:
    case GAPLESS_EVENT_SEGMENT_MAP:
      segments_.map(event.address, event.bytes, context);
      break;
    case GAPLESS_EVENT_SEGMENT_FREE:
    case GAPLESS_EVENT_SEGMENT_UNMAP:
      segments_.unmap(event.address, event.bytes);
      break;
    case GAPLESS_EVENT_OOM:
      break;
  }
  // PyTorch's entries of blocks have the size that was asked for.
  add(action_of(event.kind), static_cast<DeviceIndex>(event.device), event.address, event.requested_bytes, event.stream,
      {event.pool.high, event.pool.low}, std::move(context));
  return cookie;
}

void History::add(Action action, DeviceIndex device, size_t address, size_t bytes, void* stream,
                  const MempoolId_t& pool, Context context) {
  std::shared_ptr<const std::vector<cca::AllocatorTraceTracker>> trackers;
  Device* ring = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    trackers = trackers_;
    if (static_cast<size_t>(device) < devices_.size()) ring = devices_[static_cast<size_t>(device)].get();
  }
  cca::TraceEntry entry(action, device, address, bytes, static_cast<TraceStream>(stream), pool,
                        c10::getApproximateTime(), level() >= cca::RecordContext::ALLOC ? std::move(context) : nullptr,
                        compile_contexts.empty() ? "N/A" : compile_contexts.top()
#if GAPLESS_TORCH_MINOR >= 10
                            ,
                        metadata_of_thread
#endif
  );
  if (trackers) {
    for (const auto& tracker : *trackers) tracker(entry);
  }
  const bool skipped = (skipped_.load(std::memory_order_acquire) >> static_cast<uint32_t>(action) & 1U) != 0;
  if (ring == nullptr || skipped || !enabled()) return;
  const std::lock_guard<std::mutex> lock(ring->mutex);
  ring->ring.insert(std::move(entry));
}

void History::add_out_of_memory(DeviceIndex device, size_t device_free, size_t bytes, cudaStream_t stream) {
  // The scope of the failed call is still open where contexts are gathered.
  add(Action::OOM, device, device_free, bytes, stream, {0, 0}, call_context);
}

void History::annotate(const std::vector<std::pair<std::string, std::string>>& metadata, DeviceIndex device) {
  if (!enabled()) return;
  AnnotationEntry entry(device, c10::getApproximateTime());
  for (const auto& [name, value] : metadata) entry.recordUserMetadata(name, value);
  const std::lock_guard<std::mutex> lock(mutex_);
  annotations_.insert(std::move(entry));
}

void History::push_compile_context(std::string context) {
  if (enabled()) compile_contexts.push(std::move(context));
}

void History::pop_compile_context() {
  if (enabled() && !compile_contexts.empty()) compile_contexts.pop();
}

void History::set_user_metadata(std::string metadata) {
  metadata_of_thread = std::move(metadata);
}

std::string History::user_metadata() {
  return metadata_of_thread;
}

std::vector<cca::TraceEntry> History::trace(DeviceIndex device) {
  std::vector<cca::TraceEntry> entries;
  std::function<c10::time_t(ApproximateTime)> to_nanoseconds;
  Device* ring = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ring = devices_.at(static_cast<size_t>(device)).get();
    to_nanoseconds = clock_.makeConverter();
  }
  {
    const std::lock_guard<std::mutex> lock(ring->mutex);
    entries = ring->ring.copy();
  }
  for (cca::TraceEntry& entry : entries) entry.time_.t_ = to_nanoseconds(entry.time_.approx_t_) / 1000;  // microseconds
  return entries;
}

std::vector<AnnotationEntry> History::annotations() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<AnnotationEntry> entries = annotations_.copy();
  if (entries.empty()) return entries;
  const auto to_nanoseconds = clock_.makeConverter();
  for (AnnotationEntry& entry : entries) entry.time_.t_ = to_nanoseconds(entry.time_.approx_t_) / 1000;
  return entries;
}

}  // namespace gapless::torch

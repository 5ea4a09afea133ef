// SPDX-License-Identifier: Apache-2.0
//
// The allocator's side of history.hpp: settings in, listener to gapless.
#include "allocator.hpp"
#include "check.hpp"

namespace gapless::torch {

bool TorchAllocator::isHistoryEnabled() {
  return history_.enabled();
}

#if GAPLESS_TORCH_MINOR >= 11
void TorchAllocator::recordHistory(bool enabled, cca::CreateContextFn gather, size_t max_entries,
                                   cca::RecordContext when, bool clear, const std::vector<std::string>& skip_actions) {
#else
void TorchAllocator::recordHistory(bool enabled, cca::CreateContextFn gather, size_t max_entries,
                                   cca::RecordContext when, bool clear) {
  const std::vector<std::string> skip_actions;
#endif
  History::Settings settings;
  settings.enabled = enabled;
  settings.gather = gather;
  settings.max_entries = max_entries;
  settings.when = when;
  settings.clear = clear;
  settings.skip_actions = skip_actions;
  history_.record(settings);
  apply_history();
}

void TorchAllocator::attachAllocatorTraceTracker(cca::AllocatorTraceTracker tracker) {
  history_.add_tracker(std::move(tracker));
  apply_history();
}

void TorchAllocator::apply_history() {
  const std::lock_guard<std::mutex> start(start_mutex_);
  gapless_allocator* const core = this->core();
  if (core == nullptr) return;  // init() comes here again
  set_detour(kGathering, history_.gathers());
  const gapless_listener listener = history_.listener();
  if (listener.kinds == 0 && !history_.ever_listened()) return;
  check(gapless_set_listener(core, &listener), "recording memory history");
}

void TorchAllocator::recordAnnotation(const std::vector<std::pair<std::string, std::string>>& metadata) {
  if (!history_.enabled()) return;
  DeviceIndex device = 0;
  C10_CUDA_CHECK(c10::cuda::GetDevice(&device));
  history_.annotate(metadata, device);
}

void TorchAllocator::pushCompileContext(std::string& context) {
  history_.push_compile_context(context);
}

void TorchAllocator::popCompileContext() {
  history_.pop_compile_context();
}

#if GAPLESS_TORCH_MINOR >= 10
void TorchAllocator::setUserMetadata(const std::string& metadata) {
  History::set_user_metadata(metadata);
}

std::string TorchAllocator::getUserMetadata() {
  return History::user_metadata();
}
#endif

#if GAPLESS_TORCH_MINOR >= 12
std::shared_ptr<GatheredContext> TorchAllocator::getContextForPointer(const void* pointer) {
  gapless_block_info block = GAPLESS_STRUCT(gapless_block_info);
  if (core() == nullptr || gapless_block_of(core(), pointer, &block) != GAPLESS_OK) return nullptr;
  return history_.block_context(block.cookie);
}
#endif

#if GAPLESS_TORCH_MINOR >= 14
bool TorchAllocator::supportsUserMetadata() {
  return true;
}

void TorchAllocator::annotateMemory(const void* pointer, const std::string& metadata) {
  gapless_block_info block = GAPLESS_STRUCT(gapless_block_info);
  if (core() == nullptr || !history_.enabled() || gapless_block_of(core(), pointer, &block) != GAPLESS_OK) return;
  const std::string outer = History::user_metadata();
  History::set_user_metadata(metadata);
  history_.add(cca::TraceEntry::Action::ANNOTATE, static_cast<DeviceIndex>(block.device),
               reinterpret_cast<size_t>(block.address), block.requested_bytes, block.stream, {0, 0}, nullptr);
  History::set_user_metadata(outer);
}
#endif

}  // namespace gapless::torch

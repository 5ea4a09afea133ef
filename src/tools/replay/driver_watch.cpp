// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/driver_watch.hpp"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstring>
#include <string>

#include "tools/replay/shared_library.hpp"

namespace gapless::tools {
namespace {
constexpr int kNotPermitted = 800;  // CUDA_ERROR_NOT_PERMITTED
constexpr int kNotSupported = 801;  // CUDA_ERROR_NOT_SUPPORTED
}  // namespace

DriverWatch::~DriverWatch() {
  if (log_ != nullptr) std::fclose(log_);
}

void DriverWatch::log_to(const std::string& path) {
  log_ = std::fopen(path.c_str(), "w");
  if (log_ == nullptr) throw SetupError(path + ": " + std::strerror(errno));
  log_path_ = path;
  std::fputs("# event letter function result address bytes handle stream event_id\n", log_);
}

void DriverWatch::end_log() {
  if (log_ == nullptr) return;
  errno = 0;
  const bool earlier = std::ferror(log_) != 0;  // whose errno is long overwritten
  const bool flushed = std::fflush(log_) == 0;
  int error = errno;
  const bool closed = std::fclose(log_) == 0;
  log_ = nullptr;
  if (flushed && !closed) error = errno;
  if (earlier || !flushed || !closed)
    throw SetupError(log_path_ + ": " + (error != 0 ? std::strerror(error) : "a part of it could not be written"));
}

void DriverWatch::begin(std::size_t event, char letter) {
  inside_ = true;
  event_ = event;
  letter_ = letter;
  // Most brackets make no driver call; clearing an empty hash table would still touch it.
  if (!new_handles_.empty()) {
    new_handles_.clear();
    new_ranges_.clear();
  }
}

void DriverWatch::on_call(void* user, const gapless_sim_call* call) {
  static_cast<DriverWatch*>(user)->handle(*call);
}

std::map<std::string, std::uint64_t> DriverWatch::event_calls() const {
  std::map<std::string, std::uint64_t> counts;
  for (const auto& [name, function] : functions_) {
    if (!is_memory_call(name)) counts[name] += function.calls;
  }
  return counts;
}

std::uint64_t DriverWatch::refused(const std::string& function) const {
  std::uint64_t sum = 0;
  for (const auto& [name, counts] : functions_) sum += name == function ? counts.refused : 0;
  return sum;
}

void DriverWatch::handle(const gapless_sim_call& call) {
  if (!inside_ && !beside_) return;
  Function& function = functions_[call.function];
  if (function.cost == nullptr) function.cost = &cost_of(call.function);
  ++function.calls;
  if (call.result == kNotPermitted || call.result == kNotSupported) {
    ++function.refused;
    if (log_ != nullptr) write_log(call);
    return;
  }
  if (beside_) {
    time_.creator_us += cost_in_us(*function.cost, call.bytes);
    if (log_ != nullptr) write_log(call);
    return;
  }
  const double us = charge(call, *function.cost);
  if (keep_mappings_ && call.result == 0) track_mapping(call);
  if (log_ != nullptr) write_log(call);
  if (passed_ && us > 0) passed_(us);
}

// A range counts as new only when handles made in this bracket fill all of it: set_access over a run of new and moved
// handles is charged to remapping, the stricter reading.
bool DriverWatch::all_new(std::uint64_t begin, std::uint64_t end) const {
  std::uint64_t reached = begin;
  for (const Range& range : new_ranges_) {
    if (range.begin > reached) break;
    reached = std::max(reached, range.end);
  }
  return reached >= end;
}

double DriverWatch::charge(const gapless_sim_call& call, const CallCost& row) {
  const double us = cost_in_us(row, call.bytes);
  bool creation = false;
  switch (row.call_class) {
    case CallClass::other:
      return 0;
    case CallClass::host_wait:
      if (letter_ == 'a') ++time_.stalls;
      return 0;
    case CallClass::create:
      creation = true;
      if (call.result == 0 && call.handle != 0) new_handles_.insert(call.handle);
      break;
    case CallClass::map:
      creation = new_handles_.contains(call.handle);
      if (creation && call.result == 0) {
        const Range range{call.address, call.address + call.bytes};
        const auto place = std::upper_bound(new_ranges_.begin(), new_ranges_.end(), range,
                                            [](const Range& a, const Range& b) { return a.begin < b.begin; });
        new_ranges_.insert(place, range);
      }
      break;
    case CallClass::set_access:
      creation = all_new(call.address, call.address + call.bytes);
      break;
    case CallClass::remap:
      break;
  }
  (creation ? time_.create_us : time_.remap_us) += us;
  return us;
}

void DriverWatch::track_mapping(const gapless_sim_call& call) {
  const std::string_view name = call.function;
  if (name.starts_with("cuMemMap")) {
    mappings_.push_back({event_, call.address, call.bytes, true});
  } else if (name.starts_with("cuMemUnmap")) {
    mappings_.push_back({event_, call.address, call.bytes, false});
  } else if (name.starts_with("cudaMalloc") || name.starts_with("cuMemAlloc")) {
    linear_[call.address] = call.bytes;
    mappings_.push_back({event_, call.address, call.bytes, true});
  } else if (name.starts_with("cudaFree") || name.starts_with("cuMemFree")) {
    const auto entry = linear_.find(call.address);
    if (entry == linear_.end()) return;
    mappings_.push_back({event_, call.address, entry->second, false});
    linear_.erase(entry);
  }
}

void DriverWatch::write_log(const gapless_sim_call& call) {
  std::fprintf(log_, "%zu %c %s %d %#" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", event_, letter_,
               call.function, call.result, call.address, call.bytes, call.handle, call.stream, call.event);
}

}  // namespace gapless::tools

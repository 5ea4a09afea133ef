// SPDX-License-Identifier: Apache-2.0
// The settings of one allocator, and access to them by name. Plain data: nothing here reads the environment or locks.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "config/values.hpp"

namespace gapless::config {

// What PyTorch's configuration string said, as PyTorch's snapshot shows it. What gapless acts on
// (roundup_power2_divisions, per_process_memory_fraction) is in Options under gapless's own name.
struct PytorchSettings {
  std::string text;  // the last string that parsed without error
  Size large_segment_size = 20 * kMiB;
  Size max_split_size = kUnlimited;
  Size max_non_split_rounding_size = 20 * kMiB;
  double garbage_collection_threshold = 0;
  bool expandable_segments = false;
  bool release_lock_on_cudamalloc = false;
  bool graph_capture_record_stream_reuse = false;
  bool backend_is_cuda_malloc_async = false;
  friend bool operator==(const PytorchSettings&, const PytorchSettings&) = default;
};

struct Options {
#define GAPLESS_OPTION(type, name, initial, range, section, when, state, help) type name = initial;
#include "config/options.def"
  PytorchSettings pytorch;
  friend bool operator==(const Options&, const Options&) = default;
};

enum class When { any_time, at_open };
enum class State { effective, planned };

// A row of the table. The views have static storage.
struct OptionInfo {
  std::string_view name;
  std::string_view section;
  std::string_view help;
  When when;
  State state;
  std::string (*values)();                                  // "true or false"
  Problem (*set)(Options& options, std::string_view text);  // unchanged on failure
  std::string (*get)(const Options& options);
};

// In the order of options.def.
std::span<const OptionInfo> option_table();
const OptionInfo* find_option(std::string_view name);
// The known name nearest to `name`, or empty when none is near enough to be what was meant.
std::string_view nearest_option(std::string_view name);

enum class SetStatus { ok, unknown_name, bad_value, only_at_open, no_effect };
struct SetResult {
  SetStatus status = SetStatus::ok;
  std::string text;  // a sentence; when ok: lines about what has no effect, mostly none
};

// For an open allocator: refuses options that are read at open, and planned ones. `pytorch_alloc_conf` is taken too:
// its value is a whole string in PyTorch's grammar. Unchanged unless ok.
SetResult set_option(Options& options, std::string_view name, std::string_view value);
// False: no such option.
bool get_option(const Options& options, std::string_view name, std::string& out);

}  // namespace gapless::config

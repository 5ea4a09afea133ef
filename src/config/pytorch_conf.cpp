// SPDX-License-Identifier: Apache-2.0
// PyTorch reads one string three times: large_segment_size_mb anywhere in it, then the keys of all accelerators, then
// those of CUDA. Each pass skips what is not its own; the order decides which error is raised, so it is kept.
#include <algorithm>
#include <bit>

#include "config/load.hpp"
#include "config/nearest.hpp"
#include "config/report.hpp"
#include "config/tokens.hpp"

namespace gapless::config {
namespace {

constexpr std::string_view kOwnPrefix = "gapless_";
constexpr Size kMostMiB = kUnlimited / kMiB;

// Keys without effect on gapless, and why. An empty reason: it concerns host memory, which gapless leaves to PyTorch.
struct Idle {
  std::string_view key;
  std::string_view reason;
};
constexpr Idle kIdle[] = {
    {"large_segment_size_mb", "memory is mapped granule by granule"},
    {"max_split_size_mb", "splitting a block costs nothing where granules can move"},
    {"max_non_split_rounding_mb", "splitting a block costs nothing where granules can move"},
    {"garbage_collection_threshold", "idle memory moves to where it is needed before anything is released"},
    {"release_lock_on_cudamalloc", "no other thread ever waits for a driver call in order to hit"},
    {"release_lock_on_hipmalloc", "no other thread ever waits for a driver call in order to hit"},
    {"graph_capture_record_stream_reuse", "blocks freed in a capture wait for its end"},
    {"throw_on_cudamalloc_oom", "an out of memory is always the last resort"},
    {"expandable_segments_reserve", "address space is reserved by need"},
    {"expandable_segments_reserve_by_class", "address space is reserved by need"},
    {"pinned_use_background_threads", {}},
    {"pinned_use_cuda_host_register", {}},
    {"pinned_use_hip_host_register", {}},
    {"pinned_reserve_segment_size_mb", {}},
    {"pinned_num_register_threads", {}},
    {"pinned_max_round_threshold_mb", {}},
    {"pinned_max_cached_size_mb", {}},
    {"pinned_free_catch_all", {}},
};
constexpr std::string_view kActive[] = {"roundup_power2_divisions", "expandable_segments", "backend",
                                        "per_process_memory_fraction"};

const Idle* find_idle(std::string_view key) {
  const auto* found =
      std::find_if(std::begin(kIdle), std::end(kIdle), [&](const Idle& idle) { return idle.key == key; });
  return found == std::end(kIdle) ? nullptr : found;
}
bool is_active(std::string_view key) {
  return std::find(std::begin(kActive), std::end(kActive), key) != std::end(kActive);
}

class Parser {
 public:
  Parser(std::string_view text, std::string_view source, const Options& options, Messages& messages)
      : tokens_(text), options_(options), report_(source, messages) {
    options_.pytorch.text = text;
  }

  bool run(Options& out) {
    if (!read_large_segment_size() || !each_key(&Parser::generic_key) || !each_key(&Parser::cuda_key)) {
      report_.error(tokens_.error());
      return false;
    }
    each_key(&Parser::own_key);
    if (tokens_.failed()) {
      report_.error(tokens_.error());
      return false;
    }
    each_key(&Parser::remark);
    out = options_;
    return true;
  }

 private:
  using Handler = std::size_t (Parser::*)(std::size_t key);

  bool each_key(Handler handler) {
    for (std::size_t i = 0; i < tokens_.size() && !tokens_.failed(); ++i) {
      i = tokens_.step_over_separator((this->*handler)(i));
    }
    return !tokens_.failed();
  }

  // PyTorch looks at every token here, values included.
  bool read_large_segment_size() {
    for (std::size_t i = 0; i < tokens_.size() && !tokens_.failed(); ++i) {
      if (!tokens_.is(i, "large_segment_size_mb")) continue;
      const Size mebibytes = mebibytes_at(i);
      if (!tokens_.failed() && mebibytes <= 10)
        tokens_.fail("CachingAllocator option large_segment_size_mb must be > 10 MB");
      if (!tokens_.failed()) options_.pytorch.large_segment_size = mebibytes * kMiB;
      i += 2;
    }
    // What every parse sets back to its default when the string does not name it.
    options_.pytorch.max_split_size = kUnlimited;
    options_.pytorch.max_non_split_rounding_size = options_.pytorch.large_segment_size;
    options_.pytorch.garbage_collection_threshold = 0;
    options_.roundup_power2_divisions = {};
    return !tokens_.failed();
  }

  std::size_t generic_key(std::size_t i) {
    const std::string& key = tokens_.at(i);
    PytorchSettings& settings = options_.pytorch;
    if (key == "max_split_size_mb") {
      settings.max_split_size = at_least_large_segment(i, key);
    } else if (key == "max_non_split_rounding_mb") {
      settings.max_non_split_rounding_size = at_least_large_segment(i, key);
    } else if (key == "garbage_collection_threshold") {
      const double value = tokens_.to_real(i + 2);
      if (!tokens_.failed() && !(value > 0 && value < 1)) {
        tokens_.fail("garbage_collect_threshold is invalid, set it in (0.0, 1.0)");
      }
      settings.garbage_collection_threshold = value;
    } else if (key == "roundup_power2_divisions") {
      // A second mention overwrites entries of the first, as in PyTorch.
      return parse_divisions(tokens_, i, options_.roundup_power2_divisions);
    } else if (key == "expandable_segments") {
      settings.expandable_segments = tokens_.to_bool(i + 2);
    } else if (key == "pinned_use_background_threads") {
      tokens_.to_bool(i + 2);
    } else {
      if (!is_active(key) && find_idle(key) == nullptr && !own_option(key)) {
        return unrecognized(key), i;
      }
      return tokens_.end_of_value(i);
    }
    return i + 2;
  }

  std::size_t cuda_key(std::size_t i) {
    const std::string& key = tokens_.at(i);
    if (key == "backend") {
      const std::string& backend = tokens_.at(i + 2);
      if (backend != "native" && backend != "cudaMallocAsync") {
        tokens_.fail("Unknown allocator backend, options are native and cudaMallocAsync");
      }
      options_.pytorch.backend_is_cuda_malloc_async = backend == "cudaMallocAsync";
    } else if (key == "release_lock_on_cudamalloc" || key == "release_lock_on_hipmalloc") {
      options_.pytorch.release_lock_on_cudamalloc = tokens_.to_bool(i + 2);
    } else if (key == "graph_capture_record_stream_reuse") {
      options_.pytorch.graph_capture_record_stream_reuse = tokens_.to_bool(i + 2);
    } else if (key == "pinned_use_cuda_host_register" || key == "pinned_use_hip_host_register") {
      tokens_.to_bool(i + 2);
    } else if (key == "pinned_num_register_threads") {
      check_pinned_threads(tokens_.to_size(i + 2));
    } else if (key == "pinned_reserve_segment_size_mb") {
      const bool positive = tokens_.to_size(i + 2) > 0;
      if (!tokens_.failed() && !positive) tokens_.fail("Pinned reserve segment size has to be greater than 0");
    } else if (key == "per_process_memory_fraction") {
      const double fraction = tokens_.to_real(i + 2);
      if (!tokens_.failed() && !(fraction >= 0 && fraction <= 1)) {
        tokens_.fail("per_process_memory_fraction is invalid, set it in [0.0, 1.0]");
      }
      options_.memory_fraction = fraction;
    } else {
      return tokens_.end_of_value(i);
    }
    return i + 2;
  }

  std::size_t own_key(std::size_t i) {
    const std::size_t end = tokens_.end_of_value(i);
    const OptionInfo* option = own_option(tokens_.at(i));
    if (option == nullptr || tokens_.failed()) return end;
    std::string value;
    for (std::size_t k = i + 2; k <= end; ++k) value += tokens_.at(k);
    if (const Problem problem = option->set(options_, value); !problem.empty()) {
      tokens_.fail(std::string(kOwnPrefix) + std::string(option->name) + ": '" + printable(value) + "' " + problem);
    }
    return end;
  }

  std::size_t remark(std::size_t i) {
    const std::string& key = tokens_.at(i);
    const std::size_t end = tokens_.end_of_value(i);
    if (const Idle* idle = find_idle(key); idle != nullptr && !idle->reason.empty()) {
      report_.note(key + " has no effect on gapless: " + std::string(idle->reason));
    } else if (key == "expandable_segments" && !options_.pytorch.expandable_segments) {
      report_.note("expandable_segments:False has no effect on gapless: its memory always grows in place");
    } else if (key == "backend" && options_.pytorch.backend_is_cuda_malloc_async) {
      report_.note("backend:cudaMallocAsync asks for another allocator than gapless");
    } else if (const OptionInfo* option = own_option(key); option != nullptr && option->state == State::planned) {
      report_.note(key + " has no effect in this version");
    }
    return end;
  }

  void check_pinned_threads(Size threads) {
    if (tokens_.failed()) return;
    const std::string got = ", got " + std::to_string(threads);
    if (!std::has_single_bit(threads)) {
      tokens_.fail("Number of register threads has to be power of 2" + got);
    } else if (threads > 128) {
      tokens_.fail("Number of register threads should be less than or equal to 128" + got);
    }
  }

  static const OptionInfo* own_option(std::string_view key) {
    return key.substr(0, kOwnPrefix.size()) == kOwnPrefix ? find_option(key.substr(kOwnPrefix.size())) : nullptr;
  }

  Size mebibytes_at(std::size_t key) {
    tokens_.at(key + 1);
    return std::min(tokens_.to_size(key + 2), kMostMiB);
  }

  Size at_least_large_segment(std::size_t i, const std::string& key) {
    const Size least = options_.pytorch.large_segment_size / kMiB;
    const Size mebibytes = mebibytes_at(i);
    if (!tokens_.failed() && mebibytes < least) {
      tokens_.fail("CachingAllocator option " + key + " too small, must be >= " + std::to_string(least));
    }
    return mebibytes * kMiB;
  }

  void unrecognized(std::string_view key) {
    Nearest nearest(key);
    for (const std::string_view known : kActive) nearest.consider(known);
    for (const Idle& known : kIdle) nearest.consider(known.key);
    std::string text = "Unrecognized key '" + printable(key) + "' in Accelerator allocator config.";
    if (!nearest.result().empty()) {
      text += " Did you mean '" + std::string(nearest.result()) + "'?";
    } else if (key.substr(0, kOwnPrefix.size()) == kOwnPrefix) {
      const std::string_view own = nearest_option(key.substr(kOwnPrefix.size()));
      if (!own.empty()) text += " Did you mean '" + std::string(kOwnPrefix) + std::string(own) + "'?";
    }
    tokens_.fail(text);
  }

  Tokens tokens_;
  Options options_;
  Report report_;
};

}  // namespace

void parse_pytorch_conf(std::string_view text, std::string_view source, Options& options, Messages& messages) {
  if (text.size() > kLongestText) return Report(source, messages).error("longer than 64 KiB, ignored");
  Parser(text, source, options, messages).run(options);
}

}  // namespace gapless::config

// SPDX-License-Identifier: Apache-2.0
// Prints docs/options.md from the option table.
#include <cstdio>
#include <string>

#include "config/options.hpp"

namespace {

using namespace gapless::config;

constexpr const char* kHead = R"(# Options

Made from src/config/options.def by build/release/bin/gapless_options_page; a test checks that this page is current.

Where they are set, the later one winning:

1. PyTorch's string, `PYTORCH_CUDA_ALLOC_CONF` or, only where that is not set, `PYTORCH_ALLOC_CONF` (so does PyTorch, whatever
   its documentation says). Its own keys mean what they mean to PyTorch 2.11, with the same errors; `gapless_NAME:value` sets an
   option of this page.
2. `GAPLESS_CONF="name:value,name:value"`. White space around names and values does not matter; a value that holds commas stands
   in brackets.
3. `gapless_open_args.options`, in the same grammar.
4. `gapless_set_option` on an open allocator, for the options marked "any time".

Sizes are bytes, or take KiB, MiB, GiB, TiB (or K, M, G, T). Booleans are true or false. A bad item of `GAPLESS_CONF` is reported
and leaves its option as it was; a bad string of PyTorch's is an error as a whole. A misspelt name is answered with the nearest.
)";

constexpr const char* kTail = R"(
## PyTorch's keys

| key | on gapless |
|---|---|
| `roundup_power2_divisions` | the option of that name, with PyTorch's results: a key K covers [K, 2K) MiB, the first key also everything below it, skipped intervals are not rounded, `[>:4]` leaves sizes below 2 MiB alone, and 1 means no rounding |
| `per_process_memory_fraction` | `memory_fraction` |
| `expandable_segments` | True: what gapless does anyway; False: no effect |
| `backend` | `native`: gapless; `cudaMallocAsync`: the wish for another allocator, which the PyTorch library honours |
| `max_split_size_mb`, `max_non_split_rounding_mb`, `large_segment_size_mb`, `garbage_collection_threshold`, `release_lock_on_cudamalloc`, `graph_capture_record_stream_reuse`, `throw_on_cudamalloc_oom`, `expandable_segments_reserve`, `expandable_segments_reserve_by_class` | checked, shown in the snapshot where PyTorch shows them, no effect; said once |
| `pinned_*` | host memory: left to PyTorch |

PyTorch's string is set again by `torch._C._accelerator_setAllocatorSettings(STRING)`, or in C by
`gapless_set_option(allocator, "pytorch_alloc_conf", STRING)`. As in PyTorch, each parse sets
max_split_size, max_non_split_rounding, garbage_collection_threshold and roundup_power2_divisions back to their defaults first,
and no other key.
)";

// A table cell: the bar would end it.
std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  return text;
}

}  // namespace

int main() {
  std::fputs(kHead, stdout);
  const Options defaults;
  std::string_view section;
  for (const OptionInfo& option : option_table()) {
    if (option.section != section) {
      section = option.section;
      std::printf("\n## %s\n\n| option | default | values | set | what it does |\n|---|---|---|---|---|\n",
                  std::string(section).c_str());
    }
    const std::string values = option.values();
    std::printf("| `%s` | `%s` | %s | %s | %s%s |\n", std::string(option.name).c_str(), option.get(defaults).c_str(),
                cell(values).c_str(), option.when == When::any_time ? "any time" : "at open",
                option.state == State::planned ? "**No effect in this version.** " : "",
                cell(std::string(option.help)).c_str());
  }
  std::fputs(kTail, stdout);
  return 0;
}

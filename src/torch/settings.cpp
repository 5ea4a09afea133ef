// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <c10/cuda/CUDAAllocatorConfig.h>
#include <c10/util/env.h>

#include <cstdio>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>

#include "allocator.hpp"
#include "check.hpp"

namespace gapless::torch {

namespace {

using Config = c10::CachingAllocator::AcceleratorAllocatorConfig;

// PyTorch has parsed `text` by now and would have raised for a bad one.
void forward(gapless_allocator* core, const std::string& text) {
  const gapless_status status = gapless_set_option(core, "pytorch_alloc_conf", text.c_str());
  TORCH_CHECK_VALUE(status == GAPLESS_OK, "gapless: ", gapless_last_error());
  warn_of_settings(core);
}

}  // namespace

void announce_own_keys() {
  for (const char* variable : {"PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"}) {
    const std::optional<std::string> text = c10::utils::get_env(variable);
    if (!text) continue;
    const c10::CachingAllocator::ConfigTokenizer tokens(*text);
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i].compare(0, 8, "gapless_") == 0) Config::getMutableKeys().insert(tokens[i]);
    }
  }
}

void parse_configuration() {
  cca::CUDAAllocatorConfig::instance();
  (void)Config::max_split_size();
}

double configured_fraction() {
#if GAPLESS_TORCH_MINOR >= 10
  return cca::CUDAAllocatorConfig::per_process_memory_fraction();
#else
  return 1.0;
#endif
}

void warn_of_settings(gapless_allocator* core) {
  char notes[4096];
  if (gapless_get_option(core, "notes", notes, sizeof notes) != GAPLESS_OK) return;
  static std::mutex* const mutex = new std::mutex;
  static auto* const said = new std::set<std::string>;
  const std::lock_guard<std::mutex> lock(*mutex);
  std::istringstream lines(notes);
  for (std::string line; std::getline(lines, line);) {
    // Strings set at run time are named by the option that takes them; users know them by what they are.
    constexpr std::string_view kOption = "pytorch_alloc_conf: ";
    if (line.compare(0, kOption.size(), kOption) == 0) line.erase(0, kOption.size());
    if (said->insert(line).second) std::fprintf(stderr, "gapless: %s\n", line.c_str());
  }
}

void follow_settings(gapless_allocator* core) {
  auto& hook = Config::getConfigParserHook();
  hook = [before = std::move(hook), core](const std::string& text) {
    const double fraction = configured_fraction();
    if (before) before(text);
    forward(core, text);
    if (configured_fraction() != fraction) TorchAllocator::existing()->limit_all_devices(configured_fraction());
  };
}

}  // namespace gapless::torch

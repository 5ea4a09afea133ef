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

// Each line once a process.
void warn_once(const std::string& line) {
  static std::mutex* const mutex = new std::mutex;
  static auto* const said = new std::set<std::string>;
  const std::lock_guard<std::mutex> lock(*mutex);
  if (said->insert(line).second) std::fprintf(stderr, "gapless: %s\n", line.c_str());
}

#if GAPLESS_TORCH_MINOR >= 11
// PyTorch has parsed `text` by now, would have raised for a bad one and has applied it. A key that only PyTorch knows
// is no error of the user's, so it is said and no more; one of gapless's own that is wrong raises like PyTorch's.
void forward(gapless_allocator* core, const std::string& text) {
  const gapless_status status = gapless_set_option(core, "pytorch_alloc_conf", text.c_str());
  if (status == GAPLESS_OK) return warn_of_settings(core);
  const std::string why = gapless_last_error();
  TORCH_CHECK_VALUE(why.find("gapless_") == std::string::npos, "gapless: ", why);
  warn_once("PyTorch's settings '" + text + "' have no effect on gapless: " + why);
}
#endif

// Not longer than what a configuration of the longest kind has to say.
std::string notes_of(gapless_allocator* core) {
  std::string notes(4096, '\0');
  while (gapless_get_option(core, "notes", notes.data(), notes.size()) != GAPLESS_OK) {
    if (notes.size() >= (size_t{16} << 20)) return {};
    notes.resize(notes.size() * 4);
  }
  notes.resize(notes.find('\0'));
  return notes;
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
  std::istringstream lines(notes_of(core));
  for (std::string line; std::getline(lines, line);) {
    // Strings set at run time are named by the option that takes them; users know them by what they are.
    constexpr std::string_view kOption = "pytorch_alloc_conf: ";
    if (line.compare(0, kOption.size(), kOption) == 0) line.erase(0, kOption.size());
    warn_once(line);
  }
}

#if GAPLESS_TORCH_MINOR >= 11
void follow_settings(gapless_allocator* core) {
  auto& hook = Config::getConfigParserHook();
  hook = [before = std::move(hook), core](const std::string& text) {
    const double fraction = configured_fraction();
    if (before) before(text);
    if (TorchAllocator::existing()->handed_back()) return;  // nothing is served from `core`
    forward(core, text);
    if (configured_fraction() != fraction) TorchAllocator::existing()->limit_all_devices(configured_fraction());
  };
}
#else
// The parser's hook is private there, and its one copy is not in reach of a library that hides its own.
void follow_settings(gapless_allocator*) {}
#endif

}  // namespace gapless::torch

// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include "tools/replay/backend.hpp"
#include "tools/replay/shared_library.hpp"
#include "tools/replay/torch_plugin.h"

namespace gapless::tools {
namespace {

constexpr const char* kHint =
    "native and expandable are PyTorch's own allocator; the plug-in that loads it is built when torch is found "
    "(cmake -DGAPLESS_TORCH_ROOT=.../site-packages/torch)";

class TorchBackend final : public Backend {
 public:
  TorchBackend(const Options& options, bool expandable) : size_(options.size) {
    std::string settings = expandable ? "expandable_segments:True" : "expandable_segments:False";
    if (!options.allocator_options.empty()) settings += "," + options.allocator_options;
    // Read once, when the library is loaded; the older name is still read when the newer is not set.
    setenv("PYTORCH_ALLOC_CONF", settings.c_str(), 1);
    setenv("PYTORCH_CUDA_ALLOC_CONF", settings.c_str(), 1);
    unsetenv("PYTORCH_NO_CUDA_MEMORY_CACHING");
    const SharedLibrary library(library_beside_program("libgapless_replay_torch.so", kHint), false);
    plugin_ = reinterpret_cast<gapless_replay_plugin_getter>(library.symbol(GAPLESS_REPLAY_PLUGIN_SYMBOL))();
    if (plugin_->version != GAPLESS_REPLAY_PLUGIN_VERSION)
      throw SetupError("libgapless_replay_torch.so is of another build");
    if (plugin_->open() != GAPLESS_REPLAY_OK) throw SetupError(std::string("PyTorch's allocator: ") + plugin_->error());
  }

  Outcome allocate(std::uint64_t bytes, void* stream, void*& out) override {
    return static_cast<Outcome>(plugin_->allocate(bytes, stream, &out));
  }
  Outcome free(void* pointer) override { return static_cast<Outcome>(plugin_->deallocate(pointer)); }
  Outcome record_stream(void* pointer, void* stream) override {
    return static_cast<Outcome>(plugin_->record_stream(pointer, stream));
  }
  Outcome trim(std::uint64_t) override { return static_cast<Outcome>(plugin_->trim()); }
  Outcome set_limit(std::uint64_t bytes) override {
    return static_cast<Outcome>(plugin_->set_fraction(static_cast<double>(bytes) / static_cast<double>(size_)));
  }
  Outcome mark_step(const char*) override { return Outcome::ok; }
  Outcome mark_phase(const char*) override { return Outcome::ok; }
  std::uint64_t retries() override { return plugin_->retries(); }
  std::string error() const override { return plugin_->error(); }

 private:
  std::uint64_t size_;
  const gapless_replay_plugin* plugin_ = nullptr;
};

static_assert(static_cast<int>(Outcome::ok) == GAPLESS_REPLAY_OK);
static_assert(static_cast<int>(Outcome::out_of_memory) == GAPLESS_REPLAY_OUT_OF_MEMORY);
static_assert(static_cast<int>(Outcome::failed) == GAPLESS_REPLAY_FAILED);

}  // namespace

std::unique_ptr<Backend> make_torch_backend(const Options& options, bool expandable) {
  return std::make_unique<TorchBackend>(options, expandable);
}

}  // namespace gapless::tools

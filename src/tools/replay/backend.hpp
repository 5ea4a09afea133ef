// SPDX-License-Identifier: Apache-2.0
// An allocator under replay, on device 0.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tools/replay/options.hpp"

namespace gapless::tools {

enum class Outcome { ok, out_of_memory, failed };

class Backend {
 public:
  virtual ~Backend() = default;

  virtual Outcome allocate(std::uint64_t bytes, void* stream, void*& out) = 0;
  virtual Outcome free(void* pointer) = 0;
  virtual Outcome record_stream(void* pointer, void* stream) = 0;
  virtual Outcome trim(std::uint64_t keep_bytes) = 0;
  virtual Outcome set_limit(std::uint64_t bytes) = 0;
  virtual Outcome mark_step(const char* label) = 0;
  virtual Outcome mark_phase(const char* label) = 0;
  // One handle made by what would be a thread of the allocator. False: none was wanted.
  virtual bool create_ahead() { return false; }
  virtual std::uint64_t retries() = 0;
  // The text of the last outcome that was not ok.
  virtual std::string error() const = 0;
};

// After the simulated device was loaded. Throw SetupError.
std::unique_ptr<Backend> make_gapless_backend(const Options& options);
std::unique_ptr<Backend> make_torch_backend(const Options& options, bool expandable);

}  // namespace gapless::tools

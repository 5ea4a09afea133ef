// SPDX-License-Identifier: Apache-2.0
#include "gapless/gapless.h"
#include "tools/replay/backend.hpp"
#include "tools/replay/shared_library.hpp"

namespace gapless::tools {
namespace {

class GaplessBackend final : public Backend {
 public:
  explicit GaplessBackend(const Options& options) {
    gapless_open_args args = GAPLESS_STRUCT(gapless_open_args);
    args.options = options.allocator_options.c_str();
    args.ignore_environment = 1;  // a replay depends on its command line only
    if (keep(gapless_open(&args, &allocator_)) != Outcome::ok) throw SetupError("gapless_open: " + error_);
  }
  // No gapless_close: blocks of the trace may be live, and the process ends.

  Outcome allocate(std::uint64_t bytes, void* stream, void*& out) override {
    return keep(gapless_allocate(allocator_, 0, stream, bytes, &out));
  }
  Outcome free(void* pointer) override { return keep(gapless_deallocate(allocator_, pointer)); }
  Outcome record_stream(void* pointer, void* stream) override {
    return keep(gapless_record_stream(allocator_, pointer, stream));
  }
  Outcome trim(std::uint64_t keep_bytes) override {
    return keep(gapless_trim(allocator_, 0, gapless_pool_id{0, 0}, keep_bytes, nullptr));
  }
  Outcome set_limit(std::uint64_t bytes) override { return keep(gapless_set_limit(allocator_, 0, bytes)); }
  Outcome mark_step(const char* label) override { return mark(gapless_mark_step(allocator_, 0, label, 0)); }
  Outcome mark_phase(const char* label) override { return mark(gapless_mark_phase(allocator_, 0, label)); }

  bool create_ahead() override {
    std::int32_t made = 0;
    return gapless_create_ahead(allocator_, 0, &made) == GAPLESS_OK && made != 0;
  }

  std::uint64_t retries() override {
    gapless_stats stats = GAPLESS_STRUCT(gapless_stats);
    if (gapless_get_stats(allocator_, 0, &stats) != GAPLESS_OK) return 0;
    return static_cast<std::uint64_t>(stats.num_alloc_retries);
  }
  std::string error() const override { return error_; }

 private:
  Outcome keep(gapless_status status) {
    if (status == GAPLESS_OK) return Outcome::ok;
    error_ = gapless_status_name(status);
    // Most details repeat the name in front.
    const std::string detail = gapless_last_error();
    if (!detail.empty()) error_ = detail.starts_with(error_) ? detail : error_ + ": " + detail;
    return status == GAPLESS_ERROR_OUT_OF_MEMORY ? Outcome::out_of_memory : Outcome::failed;
  }

  // Marks sharpen reports; nothing depends on them, so a build without them still replays.
  Outcome mark(gapless_status status) { return status == GAPLESS_ERROR_UNSUPPORTED ? Outcome::ok : keep(status); }

  gapless_allocator* allocator_ = nullptr;
  std::string error_;
};

}  // namespace

std::unique_ptr<Backend> make_gapless_backend(const Options& options) {
  return std::make_unique<GaplessBackend>(options);
}

}  // namespace gapless::tools

// SPDX-License-Identifier: Apache-2.0
#include "free_callbacks.hpp"

#include "compat.hpp"

namespace gapless::torch {

namespace {

gapless_oom_answer run_callbacks(void* /*user*/, const gapless_oom_record* record) {
  if (record->attempt > 0) return GAPLESS_OOM_GIVE_UP;
  bool freed = false;
  try {
    for (const std::string& name : c10::FreeCudaMemoryCallbacksRegistry()->Keys()) {
      freed |= c10::FreeCudaMemoryCallbacksRegistry()->Create(name)->Execute();
    }
  } catch (const std::exception& error) {
    TORCH_WARN("gapless: a free-memory callback failed: ", error.what());
  }
  return freed ? GAPLESS_OOM_TRY_AGAIN : GAPLESS_OOM_GIVE_UP;
}

}  // namespace

void add_free_memory_callbacks(gapless_allocator* core) {
  if (gapless_add_oom_hook(core, &run_callbacks, nullptr) != GAPLESS_OK) {
    TORCH_WARN("gapless: PyTorch's free-memory callbacks will not run: ", gapless_last_error());
  }
}

}  // namespace gapless::torch

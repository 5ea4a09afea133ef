// SPDX-License-Identifier: Apache-2.0
// Contexts: each device's primary context, contexts of cuCtxCreate, and the calling thread's stack of them.
#pragma once

#include <cuda.h>

#include <atomic>

namespace gapless::simcuda {

inline constexpr int kMaxDevices = 64;

struct Context {
  int device = 0;
  bool primary = false;
  unsigned flags = 0;
  // By cuCtxDestroy. It stays in memory: it may be the current one of other threads.
  std::atomic<bool> destroyed = false;
};

Context* primary_context(int device);

// The thread's current context, null when it has none.
Context* current_context();
void set_current_context(Context* context);
// False: the stack is full.
bool push_context(Context* context);
Context* pop_context();

// The device of a context's handle that a program gave; false where it is none.
bool device_of(CUcontext handle, int& device);

// What a call that needs a context starts with: the current device, or INVALID_CONTEXT, or CONTEXT_IS_DESTROYED.
CUresult current_device(int& device);

}  // namespace gapless::simcuda

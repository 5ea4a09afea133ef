// SPDX-License-Identifier: Apache-2.0
#include "simcuda/driver/context.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "simcuda/driver/api.hpp"
#include "simcuda/driver/observer.hpp"

namespace gapless::simcuda {
namespace {

struct Primary {
  Context context;
  std::atomic<int> references{0};
};

std::array<Primary, kMaxDevices>& primaries() {
  static auto* all = [] {
    auto* made = new std::array<Primary, kMaxDevices>;
    for (int device = 0; device < kMaxDevices; ++device) {
      Context& context = (*made)[static_cast<std::size_t>(device)].context;
      context.device = device;
      context.primary = true;
    }
    return made;
  }();
  return *all;
}

Primary& primary(int device) {
  return primaries()[static_cast<std::size_t>(device)];
}

struct Made {
  std::mutex mutex;
  std::vector<std::unique_ptr<Context>> contexts;  // of cuCtxCreate
};

Made& made() {
  static Made* all = new Made;
  return *all;
}

bool known(CUcontext handle) {
  int device = 0;
  return device_of(handle, device);
}

// No member owns anything: destructors of the program's static objects call CUDA after the main thread's thread_local
// objects have been destroyed.
struct Stack {
  std::array<Context*, 64> contexts;
  unsigned depth;
};
thread_local constinit Stack stack{};

CUcontext to_handle(Context* context) {
  return reinterpret_cast<CUcontext>(context);
}

bool valid_device(Machine* m, int device) {
  return device >= 0 && device < m->device_count();
}

}  // namespace

Context* primary_context(int device) {
  return &primary(device).context;
}

Context* current_context() {
  return stack.depth == 0 ? nullptr : stack.contexts[stack.depth - 1];
}

void set_current_context(Context* context) {
  pop_context();
  if (context != nullptr) push_context(context);
}

bool push_context(Context* context) {
  if (stack.depth == stack.contexts.size()) return false;
  stack.contexts[stack.depth++] = context;
  return true;
}

Context* pop_context() {
  return stack.depth == 0 ? nullptr : stack.contexts[--stack.depth];
}

// What a program gave is not looked into before it is found here, nor when cuCtxDestroy may have taken it.
bool device_of(CUcontext handle, int& device) {
  auto* context = reinterpret_cast<Context*>(handle);
  const int devices = machine()->device_count();
  for (device = 0; device < devices; ++device) {
    if (primary_context(device) == context) return true;
  }
  std::lock_guard lock(made().mutex);
  const auto& contexts = made().contexts;
  const auto is_it = [&](const auto& one) { return one.get() == context && !one->destroyed; };
  if (std::none_of(contexts.begin(), contexts.end(), is_it)) return false;
  device = context->device;
  return true;
}

CUresult current_device(int& device) {
  const Context* context = current_context();
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  if (context->destroyed) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  device = context->device;
  return CUDA_SUCCESS;
}

}  // namespace gapless::simcuda

using namespace gapless::simcuda;

GAPLESS_SIM_API cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice ordinal) {
  GAPLESS_SIM_CALL("cuDevicePrimaryCtxRetain");
  GAPLESS_SIM_REQUIRE(context != nullptr);
  if (!valid_device(m, ordinal)) return CUDA_ERROR_INVALID_DEVICE;
  primary(ordinal).references.fetch_add(1);
  *context = to_handle(primary_context(ordinal));
  return CUDA_SUCCESS;
}

// The memory of a primary context outlives its last release here: no program of ours releases it before it exits.
GAPLESS_SIM_API cuDevicePrimaryCtxRelease(CUdevice ordinal) {
  GAPLESS_SIM_CALL("cuDevicePrimaryCtxRelease");
  if (!valid_device(m, ordinal)) return CUDA_ERROR_INVALID_DEVICE;
  auto& references = primary(ordinal).references;
  if (references.load() == 0) return CUDA_ERROR_INVALID_CONTEXT;
  references.fetch_sub(1);
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuDevicePrimaryCtxGetState(CUdevice ordinal, unsigned* flags, int* active) {
  GAPLESS_SIM_CALL("cuDevicePrimaryCtxGetState");
  if (!valid_device(m, ordinal)) return CUDA_ERROR_INVALID_DEVICE;
  if (flags != nullptr) *flags = primary_context(ordinal)->flags;
  if (active != nullptr) *active = primary(ordinal).references.load(std::memory_order_relaxed) > 0 ? 1 : 0;
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuDevicePrimaryCtxSetFlags(CUdevice ordinal, unsigned flags) {
  GAPLESS_SIM_CALL("cuDevicePrimaryCtxSetFlags");
  if (!valid_device(m, ordinal)) return CUDA_ERROR_INVALID_DEVICE;
  primary_context(ordinal)->flags = flags;
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuCtxCreate(CUcontext* out, CUctxCreateParams*, unsigned flags, CUdevice ordinal) {
  GAPLESS_SIM_CALL("cuCtxCreate");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  if (!valid_device(m, ordinal)) return CUDA_ERROR_INVALID_DEVICE;
  auto context = std::make_unique<Context>();
  context->device = ordinal;
  context->flags = flags;
  if (!push_context(context.get())) return CUDA_ERROR_OUT_OF_MEMORY;
  *out = to_handle(context.get());
  std::lock_guard lock(made().mutex);
  made().contexts.push_back(std::move(context));
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuCtxDestroy(CUcontext handle) {
  GAPLESS_SIM_CALL("cuCtxDestroy");
  auto* context = reinterpret_cast<Context*>(handle);
  {
    std::lock_guard lock(made().mutex);
    const auto is_it = [&](const auto& one) { return one.get() == context && !one->destroyed; };
    if (std::none_of(made().contexts.begin(), made().contexts.end(), is_it)) return CUDA_ERROR_INVALID_CONTEXT;
    context->destroyed = true;
  }
  if (current_context() == context) pop_context();
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuCtxGetCurrent(CUcontext* out) {
  GAPLESS_SIM_CALL("cuCtxGetCurrent");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  *out = to_handle(current_context());
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuCtxSetCurrent(CUcontext handle) {
  GAPLESS_SIM_CALL("cuCtxSetCurrent");
  if (handle != nullptr && !known(handle)) return CUDA_ERROR_INVALID_CONTEXT;
  set_current_context(reinterpret_cast<Context*>(handle));
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuCtxPushCurrent(CUcontext handle) {
  GAPLESS_SIM_CALL("cuCtxPushCurrent");
  if (handle == nullptr || !known(handle)) return CUDA_ERROR_INVALID_CONTEXT;
  return push_context(reinterpret_cast<Context*>(handle)) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

GAPLESS_SIM_API cuCtxPopCurrent(CUcontext* out) {
  GAPLESS_SIM_CALL("cuCtxPopCurrent");
  Context* top = pop_context();
  if (top == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  if (out != nullptr) *out = to_handle(top);
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuCtxGetDevice(CUdevice* out) {
  GAPLESS_SIM_CONTEXT_CALL("cuCtxGetDevice");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  *out = device;
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuCtxGetFlags(unsigned* flags) {
  GAPLESS_SIM_CONTEXT_CALL("cuCtxGetFlags");
  GAPLESS_SIM_REQUIRE(flags != nullptr);
  *flags = current_context()->flags;
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuCtxGetApiVersion(CUcontext handle, unsigned* version) {
  GAPLESS_SIM_CALL("cuCtxGetApiVersion");
  GAPLESS_SIM_REQUIRE(version != nullptr);
  if (handle != nullptr && !known(handle)) return CUDA_ERROR_INVALID_CONTEXT;
  *version = 3020;
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuCtxGetId(CUcontext handle, unsigned long long* id) {
  GAPLESS_SIM_CALL("cuCtxGetId");
  GAPLESS_SIM_REQUIRE(id != nullptr);
  int device = 0;
  if (!device_of(handle == nullptr ? to_handle(current_context()) : handle, device)) return CUDA_ERROR_INVALID_CONTEXT;
  *id = static_cast<unsigned long long>(device) + 1;
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuCtxSynchronize() {
  GAPLESS_SIM_CONTEXT_CALL("cuCtxSynchronize");
  return observed("cuCtxSynchronize", m->device_synchronize(device), {.device = device});
}

GAPLESS_SIM_API cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  GAPLESS_SIM_CONTEXT_CALL("cuCtxGetStreamPriorityRange");
  if (least != nullptr) *least = 0;
  if (greatest != nullptr) *greatest = -5;
  return CUDA_SUCCESS;
}

// SPDX-License-Identifier: Apache-2.0
// The device of a launch, by the driver's stack of contexts. cudaSetDevice would not do: going back to the device
// before would make a context there, half a gigabyte of memory, where the thread had none yet.
#include <dlfcn.h>

#include <atomic>
#include <type_traits>

#include "launches.hpp"

namespace gapless::kernels {
namespace {

constexpr int kMostDevices = 128;  // PyTorch supports 120
constexpr int kNotInitialized = 3;
constexpr int kInvalidDevice = 101;

struct Driver {
  int (*init)(unsigned) = nullptr;
  int (*device_get)(int*, int) = nullptr;
  int (*retain)(void**, int) = nullptr;
  int (*current)(void**) = nullptr;
  int (*push)(void*) = nullptr;
  int (*pop)(void**) = nullptr;
  bool whole = false;

  Driver() {
    // The one that the runtime uses is loaded already.
    void* const library = dlopen("libcuda.so.1", RTLD_NOW);
    if (library == nullptr) return;
    const auto find = [library](const char* name, auto& out) {
      out = reinterpret_cast<std::remove_reference_t<decltype(out)>>(dlsym(library, name));
      return out != nullptr;
    };
    whole = find("cuInit", init) && find("cuDeviceGet", device_get) && find("cuDevicePrimaryCtxRetain", retain) &&
            find("cuCtxGetCurrent", current) && find("cuCtxPushCurrent_v2", push) && find("cuCtxPopCurrent_v2", pop);
  }
};

const Driver& driver() {
  static const Driver functions;
  return functions;
}

// Retained once and kept, as the runtime does.
int primary_context(int device, void*& out) {
  static std::atomic<void*> kept[kMostDevices];
  if (device < 0 || device >= kMostDevices) return kInvalidDevice;
  out = kept[device].load(std::memory_order_acquire);
  if (out != nullptr) return 0;
  int ordinal = 0;
  if (const int error = driver().init(0)) return error;
  if (const int error = driver().device_get(&ordinal, device)) return error;
  if (const int error = driver().retain(&out, ordinal)) return error;
  kept[device].store(out, std::memory_order_release);
  return 0;
}

}  // namespace

int enter_device(int device, bool& entered) {
  entered = false;
  if (!driver().whole) return kNotInitialized;
  void* context = nullptr;
  if (const int error = primary_context(device, context)) return error;
  void* current = nullptr;
  if (driver().current(&current) == 0 && current == context) return 0;
  const int error = driver().push(context);
  entered = error == 0;
  return error;
}

void leave_device() {
  void* popped = nullptr;
  driver().pop(&popped);
}

}  // namespace gapless::kernels

// SPDX-License-Identifier: Apache-2.0
//
// From torch.cuda.init() to a working core: configuration strings, the driver, the devices, the way back.
#include "allocator.hpp"
#include "check.hpp"
#include "free_callbacks.hpp"
#include "install.hpp"
#include "settings.hpp"

namespace gapless::torch {

TorchAllocator& TorchAllocator::create(cca::CUDAAllocator* previous) {
  static TorchAllocator* const allocator = [previous] {
    auto* made = new TorchAllocator(previous);  // never deleted: tensors outlive static destructors
    made->enable(true);                         // reads PYTORCH_NO_CUDA_MEMORY_CACHING
    instance_ = made;
    return made;
  }();
  return *allocator;
}

bool TorchAllocator::initialized() {
  return core() != nullptr;
}

void TorchAllocator::init(int device_count) {
  parse_configuration();
  start(device_count);
  if (!handed_back()) {
    apply_history();  // history or trackers may have been asked for before
  } else if (previous_ != nullptr) {
    previous_->init(device_count);
  }
}

void TorchAllocator::start(int device_count) {
  const std::lock_guard<std::mutex> lock_start(start_mutex_);
  if (!handed_back() && core() == nullptr) open_core();
  for (int device = device_count_.load(); device < device_count && !handed_back(); ++device) {
    if (gapless_probe_device(core(), device) == GAPLESS_OK) continue;
    hand_back("device " + std::to_string(device) + ": " + gapless_last_error());
  }
  if (handed_back()) return;
  const int known = device_count_.load();
  if (device_count > known) {
    history_.set_device_count(static_cast<size_t>(device_count));
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      fractions_.resize(static_cast<size_t>(device_count));
    }
    device_count_.store(device_count, std::memory_order_release);
  }
  set_detour(kNotReady, false);
  const double fraction = configured_fraction();
  for (int device = known; device < device_count && fraction < 1.0; ++device) {
    setMemoryFraction(fraction, static_cast<DeviceIndex>(device));
  }
}

void TorchAllocator::open_core() {
  gapless_open_args args = GAPLESS_STRUCT(gapless_open_args);
  gapless_allocator* core = nullptr;
  const gapless_status status = gapless_open(&args, &core);
  // A wrong option is the user's to mend, and raises as PyTorch's own do.
  TORCH_CHECK_VALUE(status != GAPLESS_ERROR_INVALID_ARGUMENT, "gapless: ", gapless_last_error());
  if (status != GAPLESS_OK) {
    hand_back(std::string(gapless_status_name(status)) + ": " + gapless_last_error());
    return;
  }
  warn_of_settings(core);
  add_free_memory_callbacks(core);
  follow_settings(core);
  core_.store(core, std::memory_order_release);
}

void TorchAllocator::hand_back(const std::string& why) {
  // The caller of init() has loaded this object; everybody after it loads the previous one, which makes the run a
  // native one.
  handed_back_.store(true, std::memory_order_release);
  set_detour(kNotReady, true);
  core_.store(nullptr, std::memory_order_release);  // nothing was allocated from it yet
  put_back(previous_);
  warn_not_installed(why);
}

gapless_allocator* TorchAllocator::core_for(DeviceIndex device, const char* complaint) const {
  TORCH_CHECK(0 <= device && device < device_count_.load(std::memory_order_acquire), complaint,
              static_cast<int>(device), ": did you call init?");
  return core();
}

}  // namespace gapless::torch

// SPDX-License-Identifier: Apache-2.0
#include "install.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include "allocator.hpp"
#include "host_check.hpp"
#include "settings.hpp"

namespace gapless::torch {

namespace {

// Of the registry that torch.accelerator reads: native's is 0 in some minors and 1 in others, and less is ignored.
constexpr uint8_t kPriority = 255;

std::mutex& install_mutex() {
  static std::mutex* const mutex = new std::mutex;
  return *mutex;
}

// torch::cuda::CUDAPluggableAllocator::changeCurrentAllocator also keeps the object for torch._C._cuda_getAllocator()
// and MemPool. Found at run time: linking libtorch_cuda for it would pull in the whole of PyTorch.
bool change_current_allocator(cca::CUDAAllocator* allocator) {
  using Change = void (*)(const std::shared_ptr<cca::CUDAAllocator>&);
  void* const library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return false;
  const auto change = reinterpret_cast<Change>(dlsym(
      library,
      "_ZN5torch4cuda22CUDAPluggableAllocator22changeCurrentAllocatorERKSt10shared_ptrIN3c104cuda20CUDACachingAllocator"
      "13CUDAAllocatorEE"));
  if (change == nullptr) return false;
  change(std::shared_ptr<cca::CUDAAllocator>(allocator, [](cca::CUDAAllocator*) {}));
  return true;
}

// Empty when ours may replace `current`.
std::string objection(cca::CUDAAllocator* current) {
  if (current == nullptr) return "PyTorch has no CUDA allocator yet (its CUDA library is not loaded)";
  const std::string name = current->name();
  if (name == "cudaMallocAsync") return "backend:cudaMallocAsync was chosen";
  if (name != "native") return "the allocator '" + name + "' was installed before";
  if (current->initialized()) return "PyTorch's CUDA allocator is already in use; install before the first use of CUDA";
  return "";
}

}  // namespace

InstallResult install() {
  const std::lock_guard<std::mutex> lock(install_mutex());
  cca::CUDAAllocator* const current = cca::allocator.load();
  TorchAllocator* const ours = TorchAllocator::existing();
  if (ours != nullptr && current == ours) return InstallResult::kAlready;
  std::string why = check_host();
  if (why.empty() && ours != nullptr && ours->handed_back())
    why = "it was tried before and could not serve the devices";
  if (why.empty()) why = objection(current);
  if (!why.empty()) {
    warn_not_installed(why);
    return InstallResult::kRefused;
  }
  announce_own_keys();
  TorchAllocator& allocator = TorchAllocator::create(current);
  if (!change_current_allocator(&allocator)) cca::allocator.store(&allocator);
  // torch.accelerator reads the registry, not the variable.
  c10::SetAllocator(c10::DeviceType::CUDA, &allocator, kPriority);
  return InstallResult::kInstalled;
}

void replace_pluggable() {
  const std::lock_guard<std::mutex> lock(install_mutex());
  cca::CUDAAllocator* const current = cca::allocator.load();
  // Any other name: our functions serve as a MemPool's source under another allocator, which stays.
  const bool pluggable = current != nullptr && current->name() == "pluggable" && check_host().empty();
  // The pluggable allocator does not register itself, so the registry still names native.
  auto* const registered = static_cast<cca::CUDAAllocator*>(c10::GetAllocator(c10::DeviceType::CUDA));
  TorchAllocator& allocator = TorchAllocator::create(registered);
  if (!pluggable || allocator.handed_back()) return;
  cca::allocator.store(&allocator);
  c10::SetAllocator(c10::DeviceType::CUDA, &allocator, kPriority);
}

void put_back(cca::CUDAAllocator* previous) {
  if (previous == nullptr) return;
  if (cca::allocator.load() == TorchAllocator::existing()) cca::allocator.store(previous);
  c10::SetAllocator(c10::DeviceType::CUDA, previous, kPriority);
}

void warn_not_installed(const std::string& why) {
  const std::string line = "gapless: not installed, PyTorch's own allocator stays: " + why + "\n";
  // One write: lines of several processes must not mix. There is nobody to tell when stderr is closed.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace gapless::torch

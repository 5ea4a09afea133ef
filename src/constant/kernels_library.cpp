// SPDX-License-Identifier: Apache-2.0
#include "constant/kernels_library.hpp"

#include <dlfcn.h>

#include <mutex>
#include <string>

namespace gapless::constant {
namespace {

constexpr const char* kName = "libgapless_kernels.so";

void* open_beside_this_library() {
  Dl_info here{};
  if (dladdr(reinterpret_cast<void*>(&open_beside_this_library), &here) == 0 || here.dli_fname == nullptr)
    return nullptr;
  const std::string path = here.dli_fname;
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? nullptr : dlopen((path.substr(0, slash + 1) + kName).c_str(), RTLD_NOW);
}

template <typename Function>
bool find(void* library, const char* name, Function*& out) {
  out = reinterpret_cast<Function*>(dlsym(library, name));
  return out != nullptr;
}

Status load(KernelsLibrary& out) {
  void* library = open_beside_this_library();
  if (library == nullptr) library = dlopen(kName, RTLD_NOW);
  if (library == nullptr) {
    const char* const why = dlerror();
    return base::fail(Status::unsupported, std::string("kernels need ") + kName + ": " + (why != nullptr ? why : ""));
  }
  if (!find(library, "gapless_kernels_last_error", out.last_error) ||
      !find(library, "gapless_kernels_pad_length", out.pad_length) || !find(library, "gapless_kernels_pad", out.pad) ||
      !find(library, "gapless_kernels_copy", out.copy) ||
      !find(library, "gapless_kernels_enter_device", out.enter_device) ||
      !find(library, "gapless_kernels_leave_device", out.leave_device) ||
      !find(library, "gapless_kernels_guard_fill", out.guard_fill) ||
      !find(library, "gapless_kernels_guard_check", out.guard_check) ||
      !find(library, "gapless_kernels_guard_byte", out.guard_byte))
    return base::fail(Status::unsupported, std::string(kName) + " is of another version");
  return Status::ok;
}

}  // namespace

Status KernelsLibrary::open(const KernelsLibrary*& out) {
  // Not under a lock of the allocator's: opening runs the library's own start.
  static std::mutex lock;
  static KernelsLibrary library;
  static bool loaded = false;
  const std::lock_guard guard(lock);
  if (!loaded) {
    KernelsLibrary fresh;
    if (const Status status = load(fresh); status != Status::ok) return status;
    library = fresh;
    loaded = true;
  }
  out = &library;
  return Status::ok;
}

}  // namespace gapless::constant

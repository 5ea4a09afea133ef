// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/shared_library.hpp"

#include <dlfcn.h>

#include <filesystem>
#include <initializer_list>

namespace gapless::tools {

SharedLibrary::SharedLibrary(const std::string& path, bool global)
    : path_(path), handle_(dlopen(path.c_str(), RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL))) {
  if (handle_ == nullptr)
    throw SetupError(std::string("cannot load ") + dlerror() +
                     " (LD_LIBRARY_PATH names the folders that are looked in; PyTorch's is site-packages/torch/lib)");
}

void* SharedLibrary::find(const char* name) const noexcept {
  return dlsym(handle_, name);
}

void* SharedLibrary::symbol(const char* name) const {
  void* address = find(name);
  if (address == nullptr) throw SetupError(path_ + " has no " + name);
  return address;
}

std::string library_beside_program(const std::string& file, const char* hint) {
  namespace fs = std::filesystem;
  const auto program = fs::read_symlink("/proc/self/exe").parent_path();
  // The build tree's layout, then the installed one.
  for (const char* folder : {"../lib", "../lib/gapless"}) {
    const auto candidate = program / folder / file;
    std::error_code ignored;
    if (fs::exists(candidate, ignored)) return fs::canonical(candidate).string();
  }
  throw SetupError("no " + file + " beside " + program.string() + ": " + hint);
}

}  // namespace gapless::tools

// SPDX-License-Identifier: Apache-2.0
// dlopen and dlsym with errors that say what is missing.
#pragma once

#include <stdexcept>
#include <string>

namespace gapless::tools {

// Something outside the trace is missing or failed; what() says what to do.
class SetupError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class SharedLibrary {
 public:
  // Stays loaded until the process ends: CUDA libraries are not made to be unloaded.
  SharedLibrary(const std::string& path, bool global);

  void* symbol(const char* name) const;         // throws SetupError
  void* find(const char* name) const noexcept;  // nullptr when it has none

  template <typename Function>
  void bind(const char* name, Function*& out) const {
    out = reinterpret_cast<Function*>(symbol(name));
  }

 private:
  std::string path_;
  void* handle_;
};

// The first of the folders, relative to the program's own, that holds `file`; throws SetupError with `hint`.
std::string library_beside_program(const std::string& file, const char* hint);

}  // namespace gapless::tools

// SPDX-License-Identifier: Apache-2.0
#include "base/check.hpp"

#include <cstring>

namespace gapless::base {

void broken_invariant(const char* id, const char* condition, const char* file, int line) {
  const char* slash = std::strrchr(file, '/');
  throw BrokenInvariant(std::string("invariant ") + id + " is broken: " + condition + " (" +
                        (slash ? slash + 1 : file) + ":" + std::to_string(line) + ")");
}

}  // namespace gapless::base

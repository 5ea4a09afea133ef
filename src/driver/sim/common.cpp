// SPDX-License-Identifier: Apache-2.0
#include "driver/sim/common.hpp"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace gapless::driver::sim {

std::string text(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  std::va_list again;
  va_copy(again, arguments);
  const int length = std::vsnprintf(nullptr, 0, format, arguments);
  va_end(arguments);
  std::string out(static_cast<std::size_t>(std::max(length, 0)), '\0');
  std::vsnprintf(out.data(), out.size() + 1, format, again);
  va_end(again);
  return out;
}

}  // namespace gapless::driver::sim

// SPDX-License-Identifier: Apache-2.0
#include "driver/sim/common.hpp"

#include <cstdarg>
#include <cstdio>

namespace gapless::driver::sim {

std::string text(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  char buffer[512];
  std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return buffer;
}

}  // namespace gapless::driver::sim

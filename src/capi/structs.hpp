// SPDX-License-Identifier: Apache-2.0
// Structs of the C ABI carry their size: a caller that knows a shorter or a longer one is served as far as both know.
#pragma once

#include <algorithm>
#include <cstring>

namespace gapless::capi {

// Reads a struct that the caller passed in: what it does not know is zero.
template <typename T>
bool read_struct(const T* from, T& to) {
  if (from == nullptr || from->struct_size < sizeof from->struct_size) return false;
  to = T{};
  std::memcpy(&to, from, std::min(from->struct_size, sizeof(T)));
  to.struct_size = sizeof(T);
  return true;
}

// Fills a struct that the caller passed in, as far as it goes.
template <typename T>
bool write_struct(const T& from, T* to) {
  if (to == nullptr || to->struct_size < sizeof to->struct_size) return false;
  const std::size_t size = to->struct_size;
  std::memcpy(to, &from, std::min(size, sizeof(T)));
  to->struct_size = size;
  return true;
}

}  // namespace gapless::capi

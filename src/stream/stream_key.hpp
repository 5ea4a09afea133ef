// SPDX-License-Identifier: Apache-2.0
// Which stream a handle means. Two handles name the legacy default stream, and one names another stream in every
// thread.
#pragma once

#include <cstdint>

#include "driver/driver.hpp"

namespace gapless::stream {

struct StreamKey {
  driver::Stream handle = nullptr;  // the legacy default stream is always null
  std::uint64_t thread = 0;         // of the per-thread default stream; 0 for all others
  friend bool operator==(const StreamKey&, const StreamKey&) = default;
};

inline const driver::Stream kLegacyStream = reinterpret_cast<driver::Stream>(1);
inline const driver::Stream kPerThreadStream = reinterpret_cast<driver::Stream>(2);

// Unique in the process, never 0, never reused.
std::uint64_t this_thread();

inline StreamKey key_of(driver::Stream stream) {
  if (stream == kPerThreadStream) return StreamKey{stream, this_thread()};
  return StreamKey{stream == kLegacyStream ? nullptr : stream, 0};
}

}  // namespace gapless::stream

// SPDX-License-Identifier: Apache-2.0
// The _ptsz and _ptds variants of a function are the function itself inside this scope: a null stream then means the
// calling thread's default stream instead of the legacy one.
#pragma once

namespace gapless::simcuda {

class PerThreadDefault {
 public:
  PerThreadDefault() { ++depth_; }
  ~PerThreadDefault() { --depth_; }
  PerThreadDefault(const PerThreadDefault&) = delete;
  PerThreadDefault& operator=(const PerThreadDefault&) = delete;

  static bool active() { return depth_ != 0; }

 private:
  // Each library has its own: libcudart resolves its null streams before it calls libcuda.
  static inline thread_local int depth_ = 0;
};

// What the stream argument of an API function means. 1 is CU_STREAM_LEGACY, 2 is CU_STREAM_PER_THREAD.
template <typename Stream>
Stream resolve_stream(Stream stream) {
  if (stream != nullptr) return stream;
  return reinterpret_cast<Stream>(PerThreadDefault::active() ? 2 : 1);
}

}  // namespace gapless::simcuda

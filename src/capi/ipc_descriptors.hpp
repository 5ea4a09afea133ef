// SPDX-License-Identifier: Apache-2.0
// Descriptors of granules on their way through a socket.
#pragma once

#include <unistd.h>

#include <array>
#include <cstddef>

#include "capi/ipc_wire.hpp"

namespace gapless::capi {

// Closes what it holds.
class IpcDescriptors {
 public:
  IpcDescriptors() = default;
  ~IpcDescriptors() {
    for (const int one : *this) ::close(one);
  }
  IpcDescriptors(const IpcDescriptors&) = delete;
  IpcDescriptors& operator=(const IpcDescriptors&) = delete;

  void add(int descriptor) { all_[count_++] = descriptor; }
  std::size_t size() const { return count_; }
  const int* data() const { return all_.data(); }
  const int* begin() const { return all_.data(); }
  const int* end() const { return all_.data() + count_; }

 private:
  std::array<int, kMostDescriptors> all_{};
  std::size_t count_ = 0;
};

// What the kernel puts them into, as large as the most of them need.
struct IpcControl {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> bytes{};
};

}  // namespace gapless::capi

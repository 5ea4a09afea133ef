// SPDX-License-Identifier: Apache-2.0
// What processes that share memory say to each other.
//
// The handle that a program passes on (gapless_ipc_export) names a socket of the exporting process and carries the
// block's secret: who has the bytes of a handle may have that block's granules, and nobody else. The server hands out
// descriptors on demand, a few at a time, so that sharing gigabytes of 2 MiB granules needs no thousands of open files.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace gapless::capi {

// Bytes of a handle; both processes run on one machine, so the layout is the machine's.
struct IpcHandle {
  std::array<char, 8> magic;
  std::array<std::uint8_t, 16> server;  // the name of its socket
  std::array<std::uint8_t, 16> secret;  // of the shared range
  std::uint64_t id;                     // of the shared range
  std::uint64_t granules;
  std::uint64_t granule_bytes;
  std::int32_t device;  // the exporting process's number of it
  std::uint32_t reserved;
};
static_assert(sizeof(IpcHandle) == 72);

inline constexpr std::array<char, 8> kIpcMagic = {'g', 'a', 'p', 'l', 'e', 's', 's', '1'};

struct IpcRequest {
  std::array<std::uint8_t, 16> secret;
  std::uint64_t id;
  std::uint64_t first;  // of the range's granules
  std::uint64_t count;  // at most kMostDescriptors
  std::uint64_t granule_bytes;
  std::int32_t device;
  std::uint32_t reserved;
};

struct IpcAnswer {
  std::int32_t status;     // gapless_status; not OK: no descriptors
  std::uint32_t granules;  // descriptors that come with it
};

// A message of a Unix socket carries at most 253.
inline constexpr std::uint64_t kMostDescriptors = 128;
inline constexpr int kSecondsToAnswer = 30;

// The kernel's word on who is at the other end. A name that a dead process leaves may be taken by anybody, so each side
// asks.
inline bool same_user(int connection) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return ::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == ::geteuid();
}

// The socket's name in the abstract namespace: no file to leave behind, none to follow.
struct IpcSocketName {
  std::array<char, 64> path{};
  std::size_t length = 0;  // of `path`, its leading NUL included

  explicit IpcSocketName(const std::array<std::uint8_t, 16>& server) {
    constexpr char kPrefix[] = "gapless-ipc-";
    constexpr char kDigits[] = "0123456789abcdef";
    length = 1;
    std::memcpy(path.data() + length, kPrefix, sizeof kPrefix - 1);
    length += sizeof kPrefix - 1;
    for (const std::uint8_t byte : server) {
      path[length++] = kDigits[byte >> 4];
      path[length++] = kDigits[byte & 15];
    }
  }
};

}  // namespace gapless::capi

// SPDX-License-Identifier: Apache-2.0
// Hands descriptors of shared memory to processes that show a handle's secret.
#pragma once

#include <sys/types.h>

#include <functional>
#include <thread>

#include "base/status.hpp"
#include "capi/ipc_wire.hpp"

namespace gapless::capi {

class IpcServer {
 public:
  // One granule, number `granule` of what is asked for, as a descriptor, which the server closes.
  using Share = std::function<Status(const IpcRequest& request, std::uint64_t granule, int& descriptor)>;

  explicit IpcServer(Share share) : share_(std::move(share)) {}
  // Waits for the answer that is under way.
  ~IpcServer();
  IpcServer(const IpcServer&) = delete;
  IpcServer& operator=(const IpcServer&) = delete;

  // Listens, with a thread of its own, unless it does already. Errors: RESOURCE (no socket, no thread). One thread at a
  // time.
  Status start();
  // Fills in what leads back here.
  void sign(IpcHandle& handle) const;

 private:
  void serve() const;
  void answer(int connection) const;

  const Share share_;
  std::array<std::uint8_t, 16> name_{};
  std::array<std::uint8_t, 16> secret_{};
  int listening_ = -1;
  pid_t owner_ = 0;  // the thread exists in this process only, not in its forks
  std::thread thread_;
};

}  // namespace gapless::capi

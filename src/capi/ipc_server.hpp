// SPDX-License-Identifier: Apache-2.0
// Hands descriptors of shared memory to processes that show a handle's secret.
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "base/status.hpp"
#include "capi/ipc_wire.hpp"

namespace gapless::capi {

class IpcServer {
 public:
  // One granule, number `granule` of what is asked for, as a descriptor, which the server closes. Checks the secret.
  using Share = std::function<Status(const IpcRequest& request, std::uint64_t granule, int& descriptor)>;

  explicit IpcServer(Share share) : share_(std::move(share)) {}
  // Waits for the answer that is under way.
  ~IpcServer();
  IpcServer(const IpcServer&) = delete;
  IpcServer& operator=(const IpcServer&) = delete;

  // Listens, with a thread of its own, unless it does already. Errors: INTERNAL (no socket, no thread). One thread at a
  // time.
  Status start();
  // In a forked child, which has no such thread: lets go of the parent's socket, so that it ends with the parent.
  void leave();
  const std::array<std::uint8_t, 16>& name() const { return name_; }

 private:
  void serve() const;
  int admit() const;
  bool answer(int connection) const;

  const Share share_;
  std::array<std::uint8_t, 16> name_{};
  int listening_ = -1;
  std::unique_ptr<std::thread> thread_;
};

}  // namespace gapless::capi

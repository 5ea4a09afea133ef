// SPDX-License-Identifier: Apache-2.0
// Memory of other processes, mapped here: exactly as many addresses as were shared.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "base/lock.hpp"
#include "base/status.hpp"
#include "capi/ipc_wire.hpp"
#include "driver/driver.hpp"
#include "engine/allocator.hpp"

namespace gapless::capi {

class IpcImports {
 public:
  // Waits until the device's work is done. Errors: IN_CAPTURE (it would break one), DRIVER.
  using Wait = std::function<Status(int device)>;

  // Asks the exporting process for the range and maps it for `device`. Errors: INVALID_ARGUMENT (not a
  // handle, or its process is gone), NOT_FOUND (the block is dead), OUT_OF_MEMORY (addresses), DRIVER. Any thread. What
  // a failure leaves because the driver does not take it back is a later sweep's.
  Status open(driver::DriverOps& ops, int device, std::uint64_t granularity, const IpcHandle& handle,
              driver::Address& base);
  // Work that used it is waited for. What cannot be unmapped now, because a stream captures or the driver fails, is by
  // a later sweep. Errors: UNKNOWN_POINTER, DRIVER.
  Status close(driver::DriverOps& ops, const Wait& wait, driver::Address base);
  // Unmaps what is closed and still there. Cheap where there is nothing.
  void sweep(driver::DriverOps& ops, const Wait& wait);
  // Closes all.
  void close_all(driver::DriverOps& ops, const Wait& wait);

  void prepare_fork();
  // A child calls no driver, so what the parent imported is not the child's to close.
  void after_fork(bool child);

 private:
  struct Import {
    int device = 0;
    std::uint64_t granule = 0;
    driver::Address reserved = 0;  // 0: nothing
    std::uint64_t bytes = 0;       // reserved
    std::uint64_t mapped = 0;      // of them, from the start
    std::vector<driver::Handle> handles;
  };

  static Status fetch(driver::DriverOps& ops, const IpcHandle& handle, Import& import);
  static Status map(driver::DriverOps& ops, Import& import);
  static Status undo(driver::DriverOps& ops, Import& import);
  // Imports go from one list to the other as nodes: what the driver holds is never lost for want of host memory. By
  // reserved address, which those that came to none do not have.
  using Imports = std::multimap<driver::Address, Import>;
  Status end(driver::DriverOps& ops, const Wait& wait, Imports::node_type import);

  base::LeafLock lock_;
  Imports imports_;
  Imports closed_;  // not unmapped yet
};

// Waits in the engine's devices.
inline IpcImports::Wait wait_in(engine::Allocator& engine) {
  return [&engine](int device) {
    engine::DeviceAllocator* one = nullptr;
    const Status status = engine.device(device, one);
    return status != Status::ok ? status : one->wait_for_device();
  };
}

}  // namespace gapless::capi

// SPDX-License-Identifier: Apache-2.0
// Memory of other processes, mapped here: exactly as many addresses as were shared.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "base/lock.hpp"
#include "base/status.hpp"
#include "capi/ipc_wire.hpp"
#include "driver/driver.hpp"

namespace gapless::capi {

class IpcImports {
 public:
  // Asks the exporting process for the range and maps it for `device`. Errors: INVALID_ARGUMENT (not a
  // handle, or its process is gone), NOT_FOUND (the block is dead), OUT_OF_MEMORY (addresses), DRIVER. Any thread.
  Status open(driver::DriverOps& ops, int device, std::uint64_t granularity, const IpcHandle& handle,
              driver::Address& base);
  // Work that used it is waited for. Errors: UNKNOWN_POINTER; DRIVER: the mapping stays, and another close may succeed.
  Status close(driver::DriverOps& ops, driver::Address base);
  void close_all(driver::DriverOps& ops);

  void prepare_fork();
  void after_fork() { lock_.unlock(); }

 private:
  struct Import {
    int device = 0;
    std::uint64_t granule = 0;
    driver::Address reserved = 0;
    std::uint64_t bytes = 0;   // reserved
    std::uint64_t mapped = 0;  // of them, from the start
    std::vector<driver::Handle> handles;
  };

  static Status fetch(driver::DriverOps& ops, const IpcHandle& handle, Import& import);
  static Status map(driver::DriverOps& ops, Import& import);
  static Status undo(driver::DriverOps& ops, Import& import);

  base::LeafLock lock_;
  std::map<driver::Address, Import> imports_;
};

}  // namespace gapless::capi

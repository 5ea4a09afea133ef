// SPDX-License-Identifier: Apache-2.0
// HDL-4, IPC: memory between processes. A second machine is the other process.
#include <sys/mman.h>
#include <unistd.h>

#include "contract/world.hpp"

namespace gapless::contract {
namespace {

using driver::sim::SharedMemory;

void import_descriptor(World& w, bool exported) {
  int fd = -1;
  if (exported) {
    driver::HandleProperties properties;
    properties.posix_fd = true;
    Handle handle = 0;
    (void)w.driver.create(0, kGranule, properties, handle);
    (void)w.driver.export_posix_fd(handle, fd);
  } else {
    fd = ::memfd_create("some-file", MFD_CLOEXEC);
  }
  Handle imported = 0;
  (void)w.driver.import_posix_fd(fd, imported);
  ::close(fd);
}

Address allocated(driver::sim::Machine& machine) {
  Address base = 0;
  (void)machine.allocate(0, kGranule, base);
  return base;
}

SharedMemory shared_by(driver::sim::Machine& machine) {
  SharedMemory memory;
  (void)machine.ipc_share(allocated(machine), memory);
  return memory;
}

Address opened(World& w) {
  driver::sim::Machine other(w.machine.config());
  Address base = 0;
  (void)w.machine.ipc_open(shared_by(other), base);
  return base;
}

void share(World& w, Address base) {
  SharedMemory memory;
  (void)w.machine.ipc_share(base, memory);
}

}  // namespace

std::vector<Case> sharing_rules() {
  return {
      {"HDL-4", [](World& w) { import_descriptor(w, false); }, [](World& w) { import_descriptor(w, true); }},
      {"IPC-1", [](World& w) { share(w, w.mapped()); }, [](World& w) { share(w, allocated(w.machine)); }},
      {"IPC-1", [](World& w) { share(w, opened(w)); }, [](World& w) { share(w, allocated(w.machine)); }, nullptr,
       "Opened"},
      {"IPC-2",
       [](World& w) {
         Address base = 0;
         (void)w.machine.ipc_open(shared_by(w.machine), base);
       },
       [](World& w) { (void)opened(w); }},
      {"IPC-3", [](World& w) { (void)w.machine.ipc_close(allocated(w.machine)); },
       [](World& w) { (void)w.machine.ipc_close(opened(w)); }},
      {"MEM-1", [](World& w) { (void)w.machine.free(0, opened(w)); },
       [](World& w) { (void)w.machine.free(0, allocated(w.machine)); }, nullptr, "Opened"},
  };
}

}  // namespace gapless::contract

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

Address opened(World& w, int times = 1) {
  driver::sim::Machine other(w.machine.config());
  const SharedMemory memory = shared_by(other);
  Address base = 0;
  for (int i = 0; i < times; ++i) (void)w.machine.ipc_open(memory, base);
  return base;
}

void close_twice(World& w, int opens) {
  const Address base = opened(w, opens);
  for (int i = 0; i < 2; ++i) (void)w.machine.ipc_close(base);
}

void strict_free_does_not_order(driver::sim::Config& config) {
  config.strict = true;
  config.free_orders = false;
}

void close_after_a_write(World& w, bool synchronised, int opens = 1) {
  const Address base = opened(w, opens);
  w.write(w.stream(), base);
  if (synchronised) (void)w.driver.device_synchronize(0);
  (void)w.machine.ipc_close(base);
}

void share_an_event(World& w, bool interprocess) {
  Event event = nullptr;
  std::uint64_t id = 0;
  (void)w.machine.event_create(0, event, false, interprocess);
  (void)w.machine.event_share(event, id);
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
      {"IPC-3", [](World& w) { close_twice(w, 1); }, [](World& w) { close_twice(w, 2); }, nullptr, "Twice"},
      {"IPC-4", [](World& w) { share_an_event(w, false); }, [](World& w) { share_an_event(w, true); }},
      {"PEND-2", [](World& w) { close_after_a_write(w, false); }, [](World& w) { close_after_a_write(w, true); },
       strict_free_does_not_order, "Closed"},
      {"PEND-2", [](World& w) { close_after_a_write(w, false); }, [](World& w) { close_after_a_write(w, false, 2); },
       strict_free_does_not_order, "LastClosed"},
      {"MEM-1", [](World& w) { (void)w.machine.free(0, opened(w)); },
       [](World& w) { (void)w.machine.free(0, allocated(w.machine)); }, nullptr, "Opened"},
  };
}

}  // namespace gapless::contract

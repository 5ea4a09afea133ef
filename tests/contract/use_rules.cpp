// SPDX-License-Identifier: Apache-2.0
// ACC, RACE, PEND: what only a device knows.
#include "contract/world.hpp"

namespace gapless::contract {
namespace {

void strict(driver::sim::Config& config) {
  config.strict = true;
}

void strict_free_does_not_order(driver::sim::Config& config) {
  config.strict = true;
  config.free_orders = false;
}

void strict_two_devices(driver::sim::Config& config) {
  config.strict = true;
  config.devices = 2;
}

// One handle, two addresses.
struct Aliases {
  explicit Aliases(World& w) {
    const Address base = w.reserve(2);
    const Handle handle = w.create();
    w.map(base, handle);
    w.map(base + kGranule, handle);
    first = base;
    second = base + kGranule;
  }
  Address first, second;
};

void write_through_both(World& w, bool ordered) {
  const Aliases aliases(w);
  const Stream a = w.stream();
  const Stream b = w.stream();
  w.write(a, aliases.first);
  if (ordered) w.order(a, b);
  w.write(b, aliases.second);
}

void write_then_read(World& w, bool ordered) {
  const Address base = w.mapped();
  const Stream a = w.stream();
  const Stream b = w.stream();
  w.write(a, base);
  if (ordered) w.order(a, b);
  w.read(b, base);
}

void touch_on_device(World& w, int device) {
  const Address base = w.mapped();
  const driver::sim::Access access{base, 512, true, -1};
  driver::sim::Operation operation;
  operation.name = "kernel";
  operation.accesses = {&access, 1};
  (void)w.machine.submit(device, nullptr, operation);
}

// Memory of device 1, written by device 0.
void touch_a_peers(World& w, bool enabled) {
  Address base = 0;
  (void)w.machine.allocate(1, kGranule, base);
  if (enabled) (void)w.machine.enable_peer_access(0, 1);
  w.write(nullptr, base);
}

void touch_a_peers_pool(World& w, bool given) {
  Address base = 0;
  const Stream stream = w.stream(true, 1);
  (void)w.machine.pool_allocate(1, kGranule, stream, base);
  (void)w.driver.stream_synchronize(1, stream);
  (void)w.machine.enable_peer_access(0, 1);  // is about other memory
  if (given) (void)w.machine.pool_set_access(1, 0, driver::sim::Machine::Permission::read_write);
  w.write(nullptr, base);
}

// Access is taken away after a write and an earlier read.
void revoke(World& w, bool synchronised, driver::sim::Machine::Permission left) {
  const int zero = 0;
  const Address base = w.mapped();
  const Stream stream = w.stream();
  w.write(stream, base);
  if (synchronised) (void)w.driver.stream_synchronize(0, stream);
  w.read(stream, base);
  if (synchronised && left == driver::sim::Machine::Permission::none) (void)w.driver.stream_synchronize(0, stream);
  (void)w.machine.set_access(base, kGranule, {&zero, 1}, left);
}

void revoke_from_a_peer(World& w, bool pool, bool synchronised) {
  using driver::sim::Machine;
  Address base = 0;
  const Stream owner = w.stream(true, 1);
  if (pool) {
    (void)w.machine.pool_allocate(1, kGranule, owner, base);
    (void)w.machine.pool_set_access(1, 0, Machine::Permission::read_write);
    (void)w.driver.stream_synchronize(1, owner);
  } else {
    (void)w.machine.allocate(1, kGranule, base);
    (void)w.machine.enable_peer_access(0, 1);
  }
  const Stream stream = w.stream();
  w.write(stream, base);
  if (synchronised) (void)w.driver.stream_synchronize(0, stream);
  if (pool) {
    (void)w.machine.pool_set_access(1, 0, Machine::Permission::none);
  } else {
    (void)w.machine.disable_peer_access(0, 1);
  }
}

// Memory that one stream allocated is used, or given back, by another.
void pool_on_another_stream(World& w, bool use, bool ordered) {
  Address base = 0;
  const Stream a = w.stream();
  const Stream b = w.stream();
  (void)w.machine.pool_allocate(0, 4096, a, base);
  if (ordered) w.order(a, b);
  if (use) w.use(b, base, true, "user on another stream", 4096);
  (void)w.machine.pool_free(0, base, b);
}

void free_in_stream(World& w, bool ordered) {
  Address base = 0;
  const Stream a = w.stream();
  const Stream b = w.stream();
  (void)w.machine.pool_allocate(0, 4096, a, base);
  w.order(a, b);
  w.use(b, base, true, "user on another stream", 4096);
  if (ordered) w.order(b, a);
  (void)w.machine.pool_free(0, base, a);
}

// One operation that reads and writes the same bytes, as kernels do in place.
void in_place(World& w, Stream stream, Address base) {
  const driver::sim::Access accesses[] = {{base, 512, false, -1}, {base, 512, true, -1}};
  driver::sim::Operation operation;
  operation.name = "in place";
  operation.accesses = accesses;
  (void)w.machine.submit(0, stream, operation);
}

void two_in_place(World& w, bool ordered) {
  const Address base = w.mapped();
  const Stream a = w.stream();
  const Stream b = w.stream();
  in_place(w, a, base);
  if (ordered) w.order(a, b);
  in_place(w, b, base);
}

// cuMemFree of a pool's memory waits for nothing, although cuMemFree of other memory does.
void free_of_pool_memory(World& w, bool synchronised) {
  Address base = 0;
  const Stream a = w.stream();
  (void)w.machine.pool_allocate(0, 4096, a, base);
  (void)w.driver.stream_synchronize(0, a);
  w.use(a, base, true, "user", 4096);
  if (synchronised) (void)w.driver.stream_synchronize(0, a);
  (void)w.machine.free(0, base);
}

// A copy between `host` and a block, then a kernel that writes the block on a stream that does not follow the copy's.
void copy_then_write(World& w, bool to_device, bool synchronous, bool pinned, bool ordered) {
  static char host[512];
  const Address block = w.mapped();
  const Stream a = w.stream();
  if (pinned) (void)w.machine.host_register(host, sizeof host);
  driver::sim::Machine::Copy copy;
  void* const device = reinterpret_cast<void*>(block);
  copy.to = to_device ? device : host;
  copy.from = to_device ? host : device;
  copy.bytes = sizeof host;
  copy.synchronous = synchronous;
  (void)w.machine.copy(0, a, copy);
  if (ordered) (void)w.driver.stream_synchronize(0, a);
  w.write(w.stream(), block);
}

}  // namespace

std::vector<Case> use_rules() {
  return {
      {"ACC-1",
       [](World& w) {
         const Address base = w.reserve(2);
         w.map(base, w.create());
         w.use(w.stream(), base, true, "too long", kGranule + 512);
       },
       [](World& w) { w.write(w.stream(), w.mapped()); }, strict},
      {"ACC-1", [](World& w) { w.use(w.stream(), w.mapped(), true, "past the top of the address space", SIZE_MAX); },
       [](World& w) { w.write(w.stream(), w.mapped()); }, strict, "Wraps"},
      {"ACC-2",
       [](World& w) {
         const Address base = w.mapped();
         (void)w.driver.unmap(base, kGranule);
         w.read(w.stream(), base);
       },
       [](World& w) {
         const Address base = w.mapped();
         w.read(w.stream(), base);
         (void)w.driver.device_synchronize(0);
         (void)w.driver.unmap(base, kGranule);
       },
       strict},
      {"ACC-3", [](World& w) { touch_on_device(w, 1); }, [](World& w) { touch_on_device(w, 0); }, strict_two_devices},
      {"RACE-1", [](World& w) { write_then_read(w, false); }, [](World& w) { write_then_read(w, true); }, strict},
      {"RACE-1", [](World& w) { two_in_place(w, false); }, [](World& w) { two_in_place(w, true); }, strict, "InPlace"},
      {"RACE-1", [](World& w) { copy_then_write(w, true, true, false, false); },
       [](World& w) { copy_then_write(w, true, true, false, true); }, strict, "SynchronousCopyFromPageable"},
      {"RACE-1", [](World& w) { copy_then_write(w, true, false, true, false); },
       [](World& w) { copy_then_write(w, true, true, true, false); }, strict, "CopyFromPinned"},
      {"RACE-1", [](World& w) { copy_then_write(w, false, false, false, false); },
       [](World& w) { copy_then_write(w, false, true, false, false); }, strict, "AsynchronousCopyToPageable"},
      {"RACE-2", [](World& w) { write_through_both(w, false); }, [](World& w) { write_through_both(w, true); }, strict},
      {"PEND-1",
       [](World& w) {
         const Address base = w.mapped();
         w.write(w.stream(), base);
         (void)w.driver.unmap(base, kGranule);
       },
       [](World& w) {
         const Address base = w.mapped();
         const Stream stream = w.stream();
         w.write(stream, base);
         (void)w.driver.stream_synchronize(0, stream);
         (void)w.driver.unmap(base, kGranule);
       },
       strict},
      {"PEND-2",
       [](World& w) {
         Address base = 0;
         (void)w.machine.allocate(0, kGranule, base);
         w.write(w.stream(), base);
         (void)w.machine.free(0, base);
       },
       [](World& w) {
         Address base = 0;
         (void)w.machine.allocate(0, kGranule, base);
         w.write(w.stream(), base);
         (void)w.driver.device_synchronize(0);
         (void)w.machine.free(0, base);
       },
       strict_free_does_not_order},
      {"ACC-3", [](World& w) { touch_a_peers(w, false); }, [](World& w) { touch_a_peers(w, true); }, strict_two_devices,
       "Peer"},
      {"ACC-3", [](World& w) { touch_a_peers_pool(w, false); }, [](World& w) { touch_a_peers_pool(w, true); },
       strict_two_devices, "PeersPool"},
      {"POOL-1", [](World& w) { pool_on_another_stream(w, true, false); },
       [](World& w) { pool_on_another_stream(w, true, true); }, strict},
      {"POOL-1", [](World& w) { pool_on_another_stream(w, false, false); },
       [](World& w) { pool_on_another_stream(w, false, true); }, strict, "Free"},
      {"PEND-4", [](World& w) { revoke(w, false, driver::sim::Machine::Permission::none); },
       [](World& w) { revoke(w, true, driver::sim::Machine::Permission::none); }, strict},
      {"PEND-4", [](World& w) { revoke(w, false, driver::sim::Machine::Permission::read); },
       [](World& w) { revoke(w, true, driver::sim::Machine::Permission::read); }, strict, "ReadOnly"},
      {"PEND-4", [](World& w) { revoke_from_a_peer(w, false, false); },
       [](World& w) { revoke_from_a_peer(w, false, true); }, strict_two_devices, "Peer"},
      {"PEND-4", [](World& w) { revoke_from_a_peer(w, true, false); },
       [](World& w) { revoke_from_a_peer(w, true, true); }, strict_two_devices, "PeersPool"},
      {"PEND-3", [](World& w) { free_in_stream(w, false); }, [](World& w) { free_in_stream(w, true); }, strict},
      {"PEND-3", [](World& w) { free_of_pool_memory(w, false); }, [](World& w) { free_of_pool_memory(w, true); },
       strict, "Free"},
  };
}

}  // namespace gapless::contract

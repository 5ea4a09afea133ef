// SPDX-License-Identifier: Apache-2.0
// DEV, VA, HDL, MAP, MEM.
#include <unistd.h>

#include "contract/world.hpp"

namespace gapless::contract {
namespace {

constexpr int kZero = 0;

void map_only(World& w, Address base, Handle handle, std::size_t bytes = kGranule) {
  (void)w.driver.map(base, bytes, handle);
}

void export_handle(World& w, bool created_for_it) {
  driver::HandleProperties properties;
  properties.posix_fd = created_for_it;
  Handle handle = 0;
  (void)w.driver.create(0, kGranule, properties, handle);
  int fd = -1;
  if (w.driver.export_posix_fd(handle, fd) == Result::ok) ::close(fd);
}

void reserve_aligned(World& w, std::size_t bytes, std::size_t alignment) {
  Address base = 0;
  (void)w.driver.address_reserve(bytes, alignment, base);
}

void create_bytes(World& w, std::size_t bytes) {
  Handle handle = 0;
  (void)w.driver.create(0, bytes, {}, handle);
}

void set_access_for(World& w, int device) {
  const Address base = w.reserve(1);
  map_only(w, base, w.create());
  (void)w.driver.set_access(base, kGranule, {&device, 1});
}

void map_a_handle(World& w, bool released) {
  const Address base = w.reserve(1);
  const Handle handle = w.create();
  if (released) (void)w.driver.release(handle);
  map_only(w, base, handle);
}

void export_a_handle(World& w, bool released) {
  driver::HandleProperties properties;
  properties.posix_fd = true;
  Handle handle = 0;
  (void)w.driver.create(0, kGranule, properties, handle);
  if (released) (void)w.driver.release(handle);
  int fd = -1;
  if (w.driver.export_posix_fd(handle, fd) == Result::ok) ::close(fd);
}

// A pool's allocation, given back `offset` bytes after its start.
void pool_free_at(World& w, std::size_t offset) {
  Address base = 0;
  (void)w.machine.pool_allocate(0, 4096, nullptr, base);
  (void)w.machine.pool_free(0, base + offset, nullptr);
}

// Two mappings of one granule with one granule between them.
Address with_a_hole(World& w) {
  const Address base = w.reserve(3);
  map_only(w, base, w.create());
  map_only(w, base + 2 * kGranule, w.create());
  return base;
}

void memory_of(World& w, int device) {
  driver::MemoryInfo info;
  (void)w.driver.memory_info(device, info);
}

}  // namespace

std::vector<Case> memory_rules() {
  return {
      {"DEV-1", [](World& w) { memory_of(w, 1); }, [](World& w) { memory_of(w, 0); }},
      {"DEV-1", [](World& w) { memory_of(w, -1); }, [](World& w) { memory_of(w, 0); }, nullptr, "Negative"},
      {"DEV-1", [](World& w) { set_access_for(w, 1); }, [](World& w) { set_access_for(w, 0); }, nullptr, "SetAccess"},
      {"VA-1", [](World& w) { reserve_aligned(w, kGranule + 512, 0); },
       [](World& w) { reserve_aligned(w, 2 * kGranule, 0); }},
      {"VA-1", [](World& w) { reserve_aligned(w, 0, 0); }, [](World& w) { reserve_aligned(w, kGranule, 0); }, nullptr,
       "Zero"},
      {"VA-2", [](World& w) { reserve_aligned(w, kGranule, 3 * kGranule); },
       [](World& w) { reserve_aligned(w, kGranule, 4 * kGranule); }},
      {"VA-3", [](World& w) { (void)w.driver.address_free(w.reserve(2), kGranule); },
       [](World& w) { (void)w.driver.address_free(w.reserve(2), 2 * kGranule); }},
      {"VA-3", [](World& w) { (void)w.driver.address_free(w.reserve(2) + kGranule, kGranule); },
       [](World& w) { (void)w.driver.address_free(w.reserve(1), kGranule); }, nullptr, "Inside"},
      {"VA-4", [](World& w) { (void)w.driver.address_free(w.mapped(), kGranule); },
       [](World& w) {
         const Address base = w.mapped();
         (void)w.driver.unmap(base, kGranule);
         (void)w.driver.address_free(base, kGranule);
       }},
      {"HDL-1", [](World& w) { create_bytes(w, 0); }, [](World& w) { create_bytes(w, 3 * kGranule); }},
      {"HDL-1", [](World& w) { create_bytes(w, kGranule / 2); }, [](World& w) { create_bytes(w, kGranule); }, nullptr,
       "Half"},
      {"HDL-2", [](World& w) { map_a_handle(w, true); }, [](World& w) { map_a_handle(w, false); }, nullptr, "Map"},
      {"HDL-2", [](World& w) { export_a_handle(w, true); }, [](World& w) { export_a_handle(w, false); }, nullptr,
       "Export"},
      {"HDL-2",
       [](World& w) {
         const Handle handle = w.create();
         (void)w.driver.release(handle);
         (void)w.driver.release(handle);
       },
       [](World& w) {
         const Address base = w.reserve(1);
         const Handle handle = w.create();
         w.map(base, handle);
         (void)w.driver.release(handle);  // while mapped: allowed
         (void)w.driver.unmap(base, kGranule);
       }},
      {"HDL-3", [](World& w) { export_handle(w, false); }, [](World& w) { export_handle(w, true); }},
      {"MAP-1", [](World& w) { map_only(w, w.reserve(2) + 512, w.create()); },
       [](World& w) { map_only(w, w.reserve(2), w.create()); }},
      {"MAP-1", [](World& w) { map_only(w, w.reserve(2), w.create(2), kGranule + 512); },
       [](World& w) { map_only(w, w.reserve(2), w.create(2), 2 * kGranule); }, nullptr, "OddSize"},
      {"MAP-1", [](World& w) { map_only(w, w.reserve(2), w.create(), 0); },
       [](World& w) { map_only(w, w.reserve(2), w.create()); }, nullptr, "ZeroSize"},
      {"MAP-1", [](World& w) { map_only(w, w.reserve(2), w.create(), 2 * kGranule); },
       [](World& w) { map_only(w, w.reserve(2), w.create(2), 2 * kGranule); }, nullptr, "LongerThanTheHandle"},
      {"MAP-2", [](World& w) { map_only(w, w.reserve(1) + 64 * kGranule, w.create()); },
       [](World& w) { map_only(w, w.reserve(1), w.create()); }, nullptr, "NoReservation"},
      {"MAP-2", [](World& w) { map_only(w, w.reserve(1) != 0 ? 0 - kGranule : 0, w.create()); },
       [](World& w) { map_only(w, w.reserve(1), w.create()); }, nullptr, "TopOfTheAddressSpace"},
      {"MAP-3",
       [](World& w) {
         const Address base = w.reserve(2);
         map_only(w, base, w.create());
         map_only(w, base, w.create());
       },
       [](World& w) {
         const Address base = w.reserve(2);
         map_only(w, base, w.create());
         map_only(w, base + kGranule, w.create());
       },
       nullptr, "SamePlace"},
      {"MAP-4", [](World& w) { (void)w.driver.unmap(with_a_hole(w), 3 * kGranule); },
       [](World& w) { (void)w.driver.unmap(with_a_hole(w), kGranule); }, nullptr, "Hole"},
      {"MAP-4", [](World& w) { (void)w.driver.unmap(w.mapped(), 0); },
       [](World& w) { (void)w.driver.unmap(w.mapped(), kGranule); }, nullptr, "Zero"},
      {"MAP-2",
       [](World& w) {
         const Address base = w.reserve(2);
         map_only(w, base + kGranule, w.create(2), 2 * kGranule);
       },
       [](World& w) { map_only(w, w.reserve(2), w.create(2), 2 * kGranule); }},
      {"MAP-3",
       [](World& w) {
         const Address base = w.reserve(3);
         map_only(w, base, w.create(2), 2 * kGranule);
         map_only(w, base + kGranule, w.create());  // into the middle of a mapping that starts below
       },
       [](World& w) {
         const Address base = w.reserve(3);
         map_only(w, base, w.create(2), 2 * kGranule);
         map_only(w, base + 2 * kGranule, w.create());
       }},
      {"MAP-4",
       [](World& w) {
         const Address base = w.reserve(2);
         map_only(w, base, w.create(2), 2 * kGranule);
         (void)w.driver.unmap(base, kGranule);  // half of one
       },
       [](World& w) {
         const Address base = w.reserve(2);
         map_only(w, base, w.create());
         map_only(w, base + kGranule, w.create());
         (void)w.driver.unmap(base, 2 * kGranule);  // two of two
       }},
      {"MAP-5",
       [](World& w) {
         const Address base = w.reserve(2);
         map_only(w, base, w.create());
         (void)w.driver.set_access(base, 2 * kGranule, {&kZero, 1});  // a hole at the end
       },
       [](World& w) {
         const Address base = w.reserve(2);
         map_only(w, base, w.create());
         (void)w.driver.set_access(base, kGranule, {&kZero, 1});
       }},
      {"MAP-6",
       [](World& w) {
         const Address base = w.reserve(1);
         map_only(w, base, w.create());
         (void)w.driver.set_access(base, kGranule, {});
       },
       [](World& w) { w.mapped(); }},
      {"MAP-7", [](World& w) { map_only(w, w.reserve(2), w.create(2), kGranule); },
       [](World& w) { map_only(w, w.reserve(2), w.create(2), 2 * kGranule); }},
      {"MEM-1", [](World& w) { pool_free_at(w, 512); }, [](World& w) { pool_free_at(w, 0); }, nullptr, "Inside"},
      {"MEM-1",
       [](World& w) {
         Address base = 0;
         (void)w.machine.allocate(0, 3 * kGranule, base);
         (void)w.machine.free(0, base + kGranule);
       },
       [](World& w) {
         Address linear = 0;
         Address pooled = 0;
         (void)w.machine.allocate(0, 100, linear);
         (void)w.machine.pool_allocate(0, 100, nullptr, pooled);
         (void)w.machine.free(0, linear);
         (void)w.machine.pool_free(0, pooled, nullptr);
         (void)w.machine.free(0, 0);  // a null address is no allocation, and no error
       }},
  };
}

}  // namespace gapless::contract

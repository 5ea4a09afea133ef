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

void memory_of(World& w, int device) {
  driver::MemoryInfo info;
  (void)w.driver.memory_info(device, info);
}

}  // namespace

std::vector<Case> memory_rules() {
  return {
      {"DEV-1", [](World& w) { memory_of(w, 1); }, [](World& w) { memory_of(w, 0); }},
      {"VA-1", [](World& w) { reserve_aligned(w, kGranule + 512, 0); },
       [](World& w) { reserve_aligned(w, 2 * kGranule, 0); }},
      {"VA-2", [](World& w) { reserve_aligned(w, kGranule, 3 * kGranule); },
       [](World& w) { reserve_aligned(w, kGranule, 4 * kGranule); }},
      {"VA-3", [](World& w) { (void)w.driver.address_free(w.reserve(2), kGranule); },
       [](World& w) { (void)w.driver.address_free(w.reserve(2), 2 * kGranule); }},
      {"VA-4", [](World& w) { (void)w.driver.address_free(w.mapped(), kGranule); },
       [](World& w) {
         const Address base = w.mapped();
         (void)w.driver.unmap(base, kGranule);
         (void)w.driver.address_free(base, kGranule);
       }},
      {"HDL-1", [](World& w) { create_bytes(w, 0); }, [](World& w) { create_bytes(w, 3 * kGranule); }},
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

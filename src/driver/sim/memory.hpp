// SPDX-License-Identifier: Apache-2.0
// The machine's memory: physical bytes of each device, virtual addresses, and the state machine of reservations,
// handles and mappings (docs/driver_contract.md, VA, HDL, MAP, MEM, POOL). Called under the machine's lock.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "driver/sim/address_space.hpp"
#include "driver/sim/clock.hpp"
#include "driver/sim/common.hpp"
#include "driver/sim/host_bytes.hpp"
#include "driver/sim/physical_memory.hpp"
#include "driver/sim/shadow.hpp"
#include "driver/sim/slot_table.hpp"
#include "driver/sim/types.hpp"

namespace gapless::driver::sim {

// One physical allocation. It lives while the program holds it or any address shows it.
struct Backing {
  int device = 0;
  std::uint64_t bytes = 0;
  unsigned held = 0;   // cuMemCreate, import and retain, minus cuMemRelease
  unsigned shown = 0;  // mappings
  HandleProperties properties;
  std::uint64_t place = 0;         // in the memory file; data only
  bool foreign = false;            // another machine's: it has the bytes
  int file = -1;                   // foreign, with data: its memory file
  bool shared = false;             // others may see the place: it is never used again
  std::unique_ptr<Shadow> shadow;  // strict only
};

// Addresses with memory behind them: a linear or pool allocation, or one mapping.
struct Region {
  MemoryKind kind = MemoryKind::none;
  std::uint64_t bytes = 0;
  int device = 0;
  Handle backing = 0;                        // 0: a pool's, whose physical bytes are the pool's
  std::uint64_t readable = 0, writable = 0;  // one bit a device
  std::vector<Use> uses;                     // strict: the last read and write through these addresses by each stream
  Use allocated;                             // strict: a pool allocation's cuMemAllocAsync
  std::unique_ptr<Shadow> shadow;            // strict: a pool allocation's own
  std::uint64_t place = 0;                   // a pool allocation's, in the memory file
};

class Memory {
 public:
  explicit Memory(Common& common);
  ~Memory();

  PhysicalMemory& physical(int device) { return devices_[static_cast<std::size_t>(device)].physical; }
  PoolStats& pool(int device) { return devices_[static_cast<std::size_t>(device)].pool; }
  const AddressSpace& space() const { return space_; }
  HostBytes& host() { return host_; }

  Result allocate(int device, std::uint64_t bytes, Address& out);
  // `known`: what the calling host thread knows to be complete; null where nothing is to be checked.
  Result free(Address base, const Clock* known);

  Result pool_allocate(int device, std::uint64_t bytes, Address& out);
  // The pool gets its bytes back at once (idealised); the addresses only with give_pool_addresses, when the free's
  // turn in its stream has come. `ordered`: what the free comes after in its stream; null: not checked.
  void pool_free(Address base, const Clock* ordered, const char* call = "cuMemFreeAsync");  // of one that is_pool
  void pool_allocated(Address base, const Use& at);  // strict: where in stream order it was allocated
  void give_pool_addresses(Address base);
  void pool_trim(int device, std::uint64_t keep);
  bool is_pool(Address base) const;

  Result address_reserve(std::uint64_t bytes, std::uint64_t alignment, Address fixed, Address& out);
  Result address_free(Address base, std::uint64_t bytes);
  Result create(int device, std::uint64_t bytes, const HandleProperties& properties, Handle& out);
  Result release(Handle handle);
  Result retain(Address inside, Handle& out);
  Result hold(Handle handle);    // one more cuMemRelease is due
  Backing* held(Handle handle);  // null where the program does not hold it
  Result map(Address base, std::uint64_t bytes, std::uint64_t offset, Handle handle);
  Result unmap(Address base, std::uint64_t bytes, const Clock* known);
  Result set_access(Address base, std::uint64_t bytes, std::span<const int> devices, Permission permission,
                    const Clock* known);
  // What set_access gave; what enable_peer and set_pool_access give is beside it.
  static Permission permission(const Region& region, int device) {
    return permission_of(region.readable, region.writable, device);
  }

  // ---- between processes: sharing.cpp
  SharedMemory share(Handle backing, int machine);
  Result adopt(const SharedMemory& memory, const HandleProperties& properties, Handle& out);  // held once
  Result ipc_share(Address inside, int machine, SharedMemory& out);
  Result ipc_open(const SharedMemory& memory, int machine, Address& out);
  Result ipc_close(Address base, const Clock* known);
  std::uint64_t opens(Address base) const;  // closes that are due; 0: ipc_open did not give it

  // ---- peers: peers.cpp. `device` is the one that reaches, `peer` or `pool` the owner.
  Result enable_peer(int device, int peer);
  Result disable_peer(int device, int peer, const Clock* known);
  Result set_pool_access(int pool, int device, Permission permission, const Clock* known);
  Permission pool_access(int pool, int device) const;

  // The region of an address, or null.
  const Region* find(Address inside, Address& base) const;
  PointerInfo describe(Address inside) const;
  // Reports what is wrong with `access` on `device` by rule, false where it would have faulted; with `use`, also notes
  // it in the shadow and reports unordered uses.
  bool check_access(int device, const Access& access, const Use& use, const Clock& clock);
  bool readable(Address base, std::uint64_t bytes) const;  // by the host, in data mode: mapped all along

 private:
  struct Device {
    PhysicalMemory physical;
    PoolStats pool;
    // One bit for each other device that reaches it: what cuMemAlloc gave, and the pool.
    std::uint64_t peers = 0;
    std::uint64_t pool_readable = 0, pool_writable = 0;
  };
  struct Gone {  // for reports of a use after the free or the unmap
    Address base = 0;
    std::uint64_t bytes = 0;
    std::uint64_t operation = 0;
    const char* how = "";
  };
  using Regions = std::map<Address, Region>;

  bool take(int device, std::uint64_t bytes);
  Result open_file(const SharedMemory& memory, int& out);
  void leave_file(int file);
  void drop_if_unused(Handle handle);
  // Of cuMemAlloc or cuIpcOpenMemHandle; its addresses were taken by multiples of `spacing`.
  void end_linear(Regions::iterator region, const char* call, std::uint64_t spacing, const Clock* known);
  std::uint64_t small_step() const { return host_.data() ? 4096 : 512; }
  bool whole_mappings(Address base, std::uint64_t bytes, Regions::iterator& first, Regions::iterator& last);
  void check_pending(const char* rule, const char* call, Address base, const Region& region, const Clock* known);
  // PEND-4, where `device` loses the right to write, or with `all` every right.
  void check_revoked(const char* call, Address base, const Region& region, int device, bool all, const Clock* known);
  // Of all memory of a kind that `owner` has.
  void check_all_revoked(const char* call, MemoryKind kind, int owner, int device, bool all, const Clock* known);
  std::uint64_t allowed(const Region& region, bool write) const;  // one bit a device
  void remember_gone(Address base, std::uint64_t bytes, const char* how);
  // POOL-1, where `clock` does not order a pool allocation before what is called `name`.
  void check_allocated(const char* name, Address base, const Region& region, const Clock& clock);
  void report_no_memory(const Access& access, Address at, const char* name);
  static std::uint64_t bit(int device) { return 1ull << device; }
  static Permission permission_of(std::uint64_t readable, std::uint64_t writable, int device) {
    if ((writable & bit(device)) != 0) return Permission::read_write;
    return (readable & bit(device)) != 0 ? Permission::read : Permission::none;
  }

  Common& common_;
  HostBytes host_;
  AddressSpace space_;
  std::vector<Device> devices_;
  SlotTable<Backing> backings_{3};
  std::map<Address, std::uint64_t> reservations_;
  Regions regions_;
  struct Leaving {
    std::uint64_t bytes = 0;
    std::uint64_t place = 0;
  };
  std::map<Address, Leaving> leaving_;  // pool addresses whose free has not had its turn
  std::deque<Gone> gone_;
  struct OtherFile {
    std::uint64_t inode = 0;
    int file = -1;
    std::uint64_t users = 0;
  };
  std::vector<OtherFile> other_files_;  // of machines whose memory is held here
  struct Opened {
    SharedMemory memory;
    std::uint64_t times = 0;
  };
  std::map<Address, Opened> opened_;  // by ipc_open
};

}  // namespace gapless::driver::sim

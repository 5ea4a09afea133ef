// SPDX-License-Identifier: Apache-2.0
// Words shared by the parts of the simulated device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "driver/address_range.hpp"
#include "driver/driver.hpp"

namespace gapless::driver::sim {

inline constexpr std::uint64_t kGranule = 2ull << 20;        // granularity of physical memory and of mappings
inline constexpr std::uint64_t kVaBase = 0x200000000000ull;  // first address of the machine; fixed, so runs agree
inline constexpr int kMultiprocessors = 108;                 // an A100's
inline constexpr int kThreadsPerMultiprocessor = 2048;

constexpr std::uint64_t round_up(std::uint64_t n, std::uint64_t to) {
  return (n + to - 1) / to * to;
}

// CUresult codes that only a device returns; gapless itself acts on none of them.
namespace code {
inline constexpr Result not_permitted{800};
inline constexpr Result invalid_handle{400};
inline constexpr Result not_found{500};
inline constexpr Result peer_access_already_enabled{704};
inline constexpr Result peer_access_not_enabled{705};
inline constexpr Result capture_merge{902};
inline constexpr Result capture_unmatched{903};
inline constexpr Result capture_unjoined{904};
inline constexpr Result capture_isolation{905};
inline constexpr Result captured_event{907};
inline constexpr Result capture_wrong_thread{908};
}  // namespace code

// Stream handles with a meaning of their own, as in cuda.h. A null stream is the legacy default stream of the device
// that the call names.
inline const Stream kLegacyStream = reinterpret_cast<Stream>(1);
inline const Stream kPerThreadStream = reinterpret_cast<Stream>(2);

using Graph = void*;
using GraphNodeHandle = void*;
using GraphExec = void*;

// What a node of a graph is: the numbers of CUgraphNodeType.
enum class NodeKind : int { kernel = 0, copy = 1, fill = 2, host = 3, child_graph = 4, memory_operation = 12 };

struct NodeInfo {
  NodeKind kind = NodeKind::kernel;
  const char* name = "";
};

// Bytes that an operation reads or writes on the device, through the address it was given.
struct Access {
  Address base = 0;
  std::size_t bytes = 0;
  bool write = false;
  int device = -1;  // whose rights count; -1: the device that the operation runs on
};

// Runs when the operation completes. A kernel body touches device memory only and runs inside the machine's lock; a
// host function (cudaLaunchHostFunc) runs outside it; what it calls of the machine fails (HOST-1).
using Body = std::function<void()>;

struct Operation {
  const char* name = "";             // static or interned (Machine::intern): reports keep the pointer
  std::span<const Access> accesses;  // copied; may be empty where nothing is known (a kernel that nobody registered)
  Body body;                         // may be empty
  bool host_function = false;
  bool kernel = false;               // its stream must be the current device's
  NodeKind kind = NodeKind::kernel;  // as a graph shows it
};

enum class CaptureMode : int { global = 0, thread_local_ = 1, relaxed = 2 };

struct StreamFlags {
  bool non_blocking = false;  // does not synchronise with the legacy default stream
  int priority = 0;
};

// Where another process finds a machine's memory: what stands in an exported descriptor, a fabric
// handle and an IPC handle.
struct SharedMemory {
  std::uint64_t magic = 0;
  std::int32_t process = 0;
  std::int32_t machine = 0;  // of the process: tests have several
  std::int32_t file = -1;    // descriptor number of the memory file in that process; -1: no data
  std::int32_t device = 0;
  std::uint64_t place = 0;
  std::uint64_t bytes = 0;
  std::uint64_t inode = 0;  // the file's: process numbers are used again
  Handle handle = 0;        // of the allocation, in that machine: not given out again
  bool operator==(const SharedMemory&) const = default;
};
inline constexpr std::uint64_t kSharedMagic = 0x676170736d656d31;  // "gapsmem1"

enum class Permission { none, read, read_write };

enum class MemoryKind { none, linear, pool, mapped, pinned };

struct PointerInfo {
  MemoryKind kind = MemoryKind::none;
  Address base = 0;  // of the allocation or of the mapping
  std::size_t bytes = 0;
  int device = -1;
  bool reserved_only = false;  // inside a reservation or a hole of the device's addresses, nothing mapped
};

struct PoolStats {
  std::uint64_t reserved = 0, reserved_high = 0, used = 0, used_high = 0;
  std::uint64_t release_threshold = 0;
};

// A broken rule of docs/driver_contract.md.
struct Violation {
  const char* rule = "";        // "MAP-3"
  std::uint64_t operation = 0;  // the machine's operation number when it was found
  std::string text;             // both operations named, addresses, the way to run it again
};

}  // namespace gapless::driver::sim

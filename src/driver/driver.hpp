// SPDX-License-Identifier: Apache-2.0
// The only door to a GPU: what gapless needs of the CUDA driver, as one interface.
//
// Implementations: `cuda` (cuda_driver.hpp: libcuda.so.1, opened at run time) and the simulated device
// (sim/). Decorators over any of them: checked, fault, trace, latency.
//
// Contract of every call: docs/driver_contract.md. Results are CUresult codes; none is sticky here: a
// failed call changed nothing. Sizes in bytes; calls that need a context make the device's primary
// context current for their duration. No call takes a lock of gapless.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace gapless::driver {

// CUresult, by value: the few that gapless acts on are named.
enum class Result : int {
  ok = 0,
  invalid_value = 1,
  out_of_memory = 2,
  not_initialized = 3,
  no_device = 100,
  invalid_device = 101,
  invalid_context = 201,
  not_ready = 600,
  illegal_address = 700,
  not_supported = 801,
  stream_capture_unsupported = 900,
  stream_capture_invalidated = 901,
  stream_capture_implicit = 906,
  unknown = 999,
};

using Address = std::uint64_t;  // CUdeviceptr
using Handle = std::uint64_t;   // CUmemGenericAllocationHandle
using Stream = void*;           // CUstream
using Event = void*;            // CUevent

struct DeviceInfo {
  std::size_t total_bytes = 0;
  std::size_t granularity = 0;   // minimum granularity of cuMemCreate for pinned device memory
  bool virtual_memory = false;   // CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED
  bool gpu_direct_rdma = false;  // GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED
  bool posix_handles = false;    // HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED
  bool fabric_handles = false;
  std::uint64_t resident_threads = 0;  // on all multiprocessors at once; 0: not known
};

struct MemoryInfo {
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
};

struct HandleProperties {
  bool posix_fd = false;  // exportable as a POSIX file descriptor
  bool fabric = false;
  bool gpu_direct_rdma = false;
};

enum class CaptureStatus { none, active, invalidated };

struct CaptureInfo {
  CaptureStatus status = CaptureStatus::none;
  std::uint64_t id = 0;  // unique per capture sequence; 0 when none
};

class DriverOps {
 public:
  virtual ~DriverOps() = default;

  // Devices.
  virtual Result device_count(int& out) = 0;
  virtual Result device_info(int device, DeviceInfo& out) = 0;
  virtual Result memory_info(int device, MemoryInfo& out) = 0;

  // Virtual memory. `bytes` and addresses are multiples of the granularity.
  virtual Result address_reserve(std::size_t bytes, std::size_t alignment, Address& out) = 0;
  virtual Result address_free(Address base, std::size_t bytes) = 0;
  virtual Result create(int device, std::size_t bytes, const HandleProperties& properties, Handle& out) = 0;
  virtual Result release(Handle handle) = 0;
  // Maps the whole handle at `base`. Not accessible before set_access.
  virtual Result map(Address base, std::size_t bytes, Handle handle) = 0;
  // [base, base + bytes) covers whole mappings, all mapped.
  virtual Result unmap(Address base, std::size_t bytes) = 0;
  // Read-write access for every device of `devices`.
  virtual Result set_access(Address base, std::size_t bytes, std::span<const int> devices) = 0;
  virtual Result export_posix_fd(Handle handle, int& out) = 0;
  virtual Result import_posix_fd(int fd, Handle& out) = 0;

  // Stream order.
  virtual Result event_create(int device, Event& out) = 0;  // timing disabled
  virtual Result event_destroy(int device, Event event) = 0;
  virtual Result event_record(int device, Event event, Stream stream) = 0;
  virtual Result event_query(int device, Event event) = 0;  // ok or not_ready
  virtual Result event_synchronize(int device, Event event) = 0;
  virtual Result stream_wait_event(int device, Stream stream, Event event) = 0;
  virtual Result stream_synchronize(int device, Stream stream) = 0;
  virtual Result device_synchronize(int device) = 0;
  virtual Result capture_info(int device, Stream stream, CaptureInfo& out) = 0;
  // The thread's capture interaction mode: relaxed while gapless calls the driver, so that a capture
  // elsewhere in the process is not invalidated. Takes the new mode, leaves the old one.
  virtual Result exchange_capture_mode(int& mode) = 0;  // CUstreamCaptureMode; 2 = relaxed

  // "CUDA_ERROR_OUT_OF_MEMORY"; static storage, never null.
  virtual const char* result_name(Result result) = 0;
};

}  // namespace gapless::driver

// SPDX-License-Identifier: Apache-2.0
// DEV, VA, HDL, MEM: reservations, handles, linear and pool allocations, and what is counted.
#include <unistd.h>

#include "gpu/conformance.hpp"

namespace gapless::gpu {
namespace {

void reserve_of(Run& run, std::size_t bytes, std::size_t alignment) {
  CUdeviceptr base = 0;
  if (run("cuMemAddressReserve", run.cuda.cuMemAddressReserve(&base, bytes, alignment, 0, 0)) == CUDA_SUCCESS) {
    run.saw("aligned as asked", alignment == 0 || base % alignment == 0);
    run("cuMemAddressFree", run.cuda.cuMemAddressFree(base, bytes));
  }
}

void create_of(Run& run, std::size_t bytes, int device = 0) {
  CUmemGenericAllocationHandle handle = 0;
  CUmemAllocationProp properties = device_memory();
  properties.location.id = device;
  if (run("cuMemCreate", run.cuda.cuMemCreate(&handle, bytes, &properties, 0)) == CUDA_SUCCESS)
    run("cuMemRelease", run.cuda.cuMemRelease(handle));
}

void free_inside(Run& run) {
  const CUdeviceptr base = run.reserve(2);
  run("cuMemAddressFree of the second half", run.cuda.cuMemAddressFree(base + run.granule, run.granule));
  run("cuMemAddressFree of the first half", run.cuda.cuMemAddressFree(base, run.granule));
  run("cuMemAddressFree of all", run.cuda.cuMemAddressFree(base, 2 * run.granule));
  run("cuMemAddressFree again", run.cuda.cuMemAddressFree(base, 2 * run.granule));
}

void free_a_mapped_range(Run& run) {
  const CUdeviceptr base = run.mapped();
  run("cuMemAddressFree while mapped", run.cuda.cuMemAddressFree(base, run.granule));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, run.granule));
  run("cuMemAddressFree", run.cuda.cuMemAddressFree(base, run.granule));
}

void release_while_mapped(Run& run) {
  const std::size_t before = run.free_bytes();
  const CUdeviceptr base = run.reserve(16);
  const auto handle = run.create(16);
  run.saw("bytes that cuMemCreate took", before - run.free_bytes() == 16 * run.granule ? "its size" : "another number");
  run.map(base, handle, 16);
  run("cuMemRelease while mapped", run.cuda.cuMemRelease(handle));
  run.saw("still taken", before - run.free_bytes() >= 16 * run.granule);
  run("cuMemsetD8Async", run.cuda.cuMemsetD8Async(base, 7, run.granule, nullptr));
  run.saw("byte", run.byte_at(base + run.granule - 1));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, 16 * run.granule));
  run.saw("given back", before == run.free_bytes());
}

void release_twice(Run& run) {
  const auto handle = run.create();
  run("cuMemRelease", run.cuda.cuMemRelease(handle));
  run("cuMemRelease again", run.cuda.cuMemRelease(handle));
}

void map_a_released_handle(Run& run) {
  const CUdeviceptr base = run.reserve(1);
  const auto handle = run.create();
  run("cuMemRelease", run.cuda.cuMemRelease(handle));
  run("cuMemMap", run.cuda.cuMemMap(base, run.granule, 0, handle, 0));
}

void retain(Run& run) {
  const CUdeviceptr base = run.reserve(1);
  const auto handle = run.create();
  run.map(base, handle);
  CUmemGenericAllocationHandle again = 0;
  run("cuMemRetainAllocationHandle",
      run.cuda.cuMemRetainAllocationHandle(&again, reinterpret_cast<void*>(base + run.granule / 2)));
  run("cuMemRelease", run.cuda.cuMemRelease(handle));
  run("cuMemRelease of the retained", run.cuda.cuMemRelease(again));
  run("cuMemRetainAllocationHandle while mapped only",
      run.cuda.cuMemRetainAllocationHandle(&again, reinterpret_cast<void*>(base)));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, run.granule));
  const CUresult gone = run.cuda.cuMemRetainAllocationHandle(&again, reinterpret_cast<void*>(base));
  run("cuMemRetainAllocationHandle after cuMemUnmap", gone);
}

void export_and_import(Run& run) {
  const auto handle = run.create(1, true);
  int fd = -1;
  if (run("cuMemExportToShareableHandle",
          run.cuda.cuMemExportToShareableHandle(&fd, handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0)) !=
      CUDA_SUCCESS)
    return;
  CUmemGenericAllocationHandle imported = 0;
  void* const os_handle = reinterpret_cast<void*>(static_cast<std::intptr_t>(fd));
  run("cuMemImportFromShareableHandle",
      run.cuda.cuMemImportFromShareableHandle(&imported, os_handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
  ::close(fd);
  const CUdeviceptr base = run.reserve(2);
  run.map(base, handle);
  run.map(base + run.granule, imported);
  run("cuMemsetD8Async through one", run.cuda.cuMemsetD8Async(base, 9, 512, nullptr));
  run.saw("byte through the other", run.byte_at(base + run.granule));
  run("cuMemRelease", run.cuda.cuMemRelease(handle));
  run("cuMemRelease of the import", run.cuda.cuMemRelease(imported));
  run("cuMemUnmap of both", run.cuda.cuMemUnmap(base, 2 * run.granule));
}

void export_of_a_plain_handle(Run& run) {
  const auto handle = run.create();
  int fd = -1;
  run("cuMemExportToShareableHandle",
      run.cuda.cuMemExportToShareableHandle(&fd, handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
  run("cuMemRelease", run.cuda.cuMemRelease(handle));
}

void more_than_the_device(Run& run) {
  std::size_t free = 0;
  std::size_t total = 0;
  run.must(run.cuda.cuMemGetInfo(&free, &total), "cuMemGetInfo");
  const std::size_t bytes = (total / run.granule + 1) * run.granule;
  create_of(run, bytes);
  CUdeviceptr base = 0;
  run("cuMemAlloc", run.cuda.cuMemAlloc(&base, bytes));
  run("cuMemAllocAsync", run.cuda.cuMemAllocAsync(&base, bytes, nullptr));
  run("cuMemCreate of a granule still works", run.cuda.cuMemRelease(run.create()));
  run.saw("free bytes as before", free == run.free_bytes());
}

void linear(Run& run) {
  CUdeviceptr base = 0;
  run("cuMemAlloc of 0 bytes", run.cuda.cuMemAlloc(&base, 0));
  run("cuMemAlloc", run.cuda.cuMemAlloc(&base, 3 * run.granule));
  run.saw("aligned to 512", base % 512 == 0);
  run("cuMemFree inside", run.cuda.cuMemFree(base + run.granule));
  run("cuMemFree", run.cuda.cuMemFree(base));
  run("cuMemFree again", run.cuda.cuMemFree(base));
  run("cuMemFree of 0", run.cuda.cuMemFree(0));
}

void pool(Run& run) {
  CUdeviceptr base = 0;
  const CUstream stream = run.stream();
  run("cuMemAllocAsync of 0 bytes", run.cuda.cuMemAllocAsync(&base, 0, stream));
  run("cuMemAllocAsync", run.cuda.cuMemAllocAsync(&base, run.granule, stream));
  run("cuMemsetD8Async", run.cuda.cuMemsetD8Async(base, 3, run.granule, stream));
  run("cuStreamSynchronize", run.cuda.cuStreamSynchronize(stream));
  run.saw("byte", run.byte_at(base + 5));
  run("cuMemFreeAsync inside", run.cuda.cuMemFreeAsync(base + 512, stream));
  run("cuMemFreeAsync", run.cuda.cuMemFreeAsync(base, stream));
  run("cuStreamSynchronize", run.cuda.cuStreamSynchronize(stream));
  run("cuMemFreeAsync of 0", run.cuda.cuMemFreeAsync(0, stream));
  run("cuMemAlloc", run.cuda.cuMemAlloc(&base, run.granule));
  run("cuMemFreeAsync of cuMemAlloc's", run.cuda.cuMemFreeAsync(base, stream));
  run("cuMemAllocAsync", run.cuda.cuMemAllocAsync(&base, run.granule, stream));
  run("cuStreamSynchronize", run.cuda.cuStreamSynchronize(stream));
  run("cuMemFree of the pool's", run.cuda.cuMemFree(base));
  run("cuStreamDestroy", run.cuda.cuStreamDestroy(stream));
}

void devices(Run& run) {
  int count = 0;
  run("cuDeviceGetCount", run.cuda.cuDeviceGetCount(&count));
  CUdevice device = 0;
  run("cuDeviceGet past the end", run.cuda.cuDeviceGet(&device, count));
  run("cuDeviceGet of -1", run.cuda.cuDeviceGet(&device, -1));
  create_of(run, run.granule, count);
  const CUdeviceptr base = run.reserve(1);
  const auto handle = run.create();
  run.must(run.cuda.cuMemMap(base, run.granule, 0, handle, 0), "cuMemMap");
  run("cuMemSetAccess for a device that is not there", run.access(base, run.granule, count));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, run.granule));
  run("cuMemRelease", run.cuda.cuMemRelease(handle));
}

}  // namespace

std::vector<Scenario> memory_scenarios() {
  return {
      {"granularity", [](Run& run) { run.saw("bytes", run.granule); }},
      {"DEV-1 no such device", devices},
      {"VA-1 zero bytes", [](Run& run) { reserve_of(run, 0, 0); }},
      {"VA-1 half a granule more", [](Run& run) { reserve_of(run, run.granule * 3 / 2, 0); }},
      {"VA-1 kept", [](Run& run) { reserve_of(run, 3 * run.granule, 0); }},
      {"VA-2 three granules", [](Run& run) { reserve_of(run, run.granule, 3 * run.granule); }},
      {"VA-2 kept", [](Run& run) { reserve_of(run, run.granule, 64 * run.granule); }},
      {"VA-2 less than a granule", [](Run& run) { reserve_of(run, run.granule, 512); }},
      {"VA-3 parts of a reservation", free_inside, true},
      {"VA-4 a mapped reservation", free_a_mapped_range, true},
      {"virtual addresses of 4 TiB", [](Run& run) { reserve_of(run, std::size_t{4} << 40, 0); }},
      {"HDL-1 zero bytes", [](Run& run) { create_of(run, 0); }},
      {"HDL-1 half a granule", [](Run& run) { create_of(run, run.granule / 2); }},
      {"HDL-1 kept", [](Run& run) { create_of(run, 5 * run.granule); }},
      {"HDL-2 released twice", release_twice, true},
      {"HDL-2 mapped after its release", map_a_released_handle, true},
      {"HDL-2 kept: released while mapped", release_while_mapped},
      {"retained handles", retain, true},
      {"HDL-3 not created for export", export_of_a_plain_handle},
      {"HDL-3 kept", export_and_import},
      {"more than the device has", more_than_the_device},
      {"MEM-1 linear allocations", linear, true},
      {"MEM-1 pool allocations", pool, true},
  };
}

}  // namespace gapless::gpu

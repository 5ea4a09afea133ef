// SPDX-License-Identifier: Apache-2.0
// Questions 5 and 6: bandwidth over scattered handles, and what is counted against the device.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <random>

#include "gpu/facts.hpp"
#include "gpu/kernels.hpp"

namespace gapless::gpu {
namespace {

constexpr std::size_t kMiB = 1u << 20;

// `bytes` at consecutive addresses, made of handles of `each` bytes in an order that scatters them physically: as many
// again are created between them and given back.
CUdeviceptr scattered(const Probe& probe, std::size_t bytes, std::size_t each) {
  const std::size_t count = bytes / each;
  std::vector<CUmemGenericAllocationHandle> handles;
  std::vector<CUmemGenericAllocationHandle> spare;
  for (std::size_t i = 0; i < count; ++i) {
    handles.push_back(probe.create(each));
    if (i % 4 == 0) spare.push_back(probe.create(each));
  }
  for (const auto handle : spare) probe.must(probe.cuda.cuMemRelease(handle), "cuMemRelease");
  std::shuffle(handles.begin(), handles.end(), std::mt19937(1));
  const CUdeviceptr base = probe.reserve(count * each);
  for (std::size_t i = 0; i < count; ++i) {
    probe.must(probe.cuda.cuMemMap(base + i * each, each, 0, handles[i], 0), "cuMemMap");
    probe.must(probe.cuda.cuMemRelease(handles[i]), "cuMemRelease");
  }
  probe.must(probe.access(base, count * each), "cuMemSetAccess");
  return base;
}

double milliseconds_of(const Probe& probe, CUstream stream, const std::function<CUresult()>& work) {
  const CUevent start = probe.event(true);
  const CUevent end = probe.event(true);
  double best = 1e30;
  for (int i = 0; i < (probe.quick ? 1 : 7); ++i) {
    probe.must(probe.cuda.cuEventRecord(start, stream), "cuEventRecord");
    probe.must(work(), "a kernel");
    probe.must(probe.cuda.cuEventRecord(end, stream), "cuEventRecord");
    probe.must(probe.cuda.cuEventSynchronize(end), "cuEventSynchronize");
    float milliseconds = 0;
    probe.must(probe.cuda.cuEventElapsedTime(&milliseconds, start, end), "cuEventElapsedTime");
    best = std::min(best, static_cast<double>(milliseconds));
  }
  return best;
}

void bandwidth(const Probe& probe, const Kernels& kernels, const std::string& what, CUdeviceptr base,
               std::size_t bytes) {
  const CUstream stream = probe.stream();
  const double gigabytes = static_cast<double>(bytes) / 1e9;
  const std::size_t half = bytes / 2;
  probe.must(kernels.fill(base, bytes, 1, stream), "fill");
  fact("a kernel's copy over " + what,
       gigabytes / milliseconds_of(probe, stream, [&] { return kernels.copy(base + half, base, half, stream); }) * 1e3,
       "GB/s");
  fact("cuMemcpyDtoDAsync over " + what,
       gigabytes /
           milliseconds_of(probe, stream,
                           [&] { return probe.cuda.cuMemcpyDtoDAsync(base + half, base, half, stream); }) *
           1e3,
       "GB/s");
  for (const std::size_t stride : {std::size_t{128}, std::size_t{4096}, 64 * 1024ul}) {
    const double reads = static_cast<double>(bytes / stride);
    fact(
        "a gather of one word in " + std::to_string(stride) + " bytes over " + what,
        reads / milliseconds_of(probe, stream, [&] { return kernels.gather(base, bytes, stride, base, stream); }) / 1e6,
        "G reads/s");
  }
}

// Another process takes `bytes` and says so; returns what this one sees of it.
void two_processes(const Probe& probe, std::size_t bytes) {
  int ends[2];
  int back[2];
  if (::pipe2(ends, O_CLOEXEC) != 0 || ::pipe2(back, O_CLOEXEC) != 0) return;
  const std::size_t before = probe.free_bytes();
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string size = std::to_string(bytes);
    ::dup2(ends[1], 1);
    ::dup2(back[0], 0);
    ::execl("/proc/self/exe", "gpu_probe", "hold", size.c_str(), static_cast<char*>(nullptr));
    std::_Exit(127);
  }
  ::close(ends[1]);
  char byte = 0;
  const bool held = ::read(ends[0], &byte, 1) == 1;
  fact("another process held " + std::to_string(bytes / kMiB) + " MiB: free bytes fell by",
       static_cast<double>(before) - static_cast<double>(probe.free_bytes()), "bytes");
  ::close(back[1]);  // its standard input ends
  ::waitpid(child, nullptr, 0);
  ::close(ends[0]);
  ::close(back[0]);
  if (!held) fact("the other process", "did not come up");
}

}  // namespace

void probe_bandwidth(Probe& probe) {
  const Kernels kernels(probe.cuda);
  probe.must(kernels.status(), "cuModuleLoadData");
  const std::size_t most = std::min<std::size_t>(probe.free_bytes() / 3, probe.many(std::size_t{12} << 30, 80 * kMiB));
  const std::size_t bytes = most / (20 * kMiB) * 20 * kMiB;
  CUdeviceptr linear = 0;
  probe.must(probe.cuda.cuMemAlloc(&linear, bytes), "cuMemAlloc");
  bandwidth(probe, kernels, "cuMemAlloc", linear, bytes);
  probe.must(probe.cuda.cuMemFree(linear), "cuMemFree");
  for (const std::size_t each : {2 * kMiB, 20 * kMiB}) {
    const CUdeviceptr base = scattered(probe, bytes, each);
    bandwidth(probe, kernels, "scattered handles of " + std::to_string(each / kMiB) + " MiB", base, bytes);
    probe.synchronize();
    probe.unmap(base, bytes);
  }
}

void probe_accounting(Probe& probe) {
  std::size_t free = 0;
  std::size_t total = 0;
  probe.must(probe.cuda.cuMemGetInfo(&free, &total), "cuMemGetInfo");
  fact("total bytes", static_cast<double>(total), "bytes");
  fact("bytes gone with the context alone in the process", static_cast<double>(total - free), "bytes");
  for (const std::size_t mebibytes : {2u, 20u, 64u}) {
    const std::size_t count = probe.many(200, 4);
    const std::size_t before = probe.free_bytes();
    std::vector<CUmemGenericAllocationHandle> handles;
    for (std::size_t i = 0; i < count; ++i) handles.push_back(probe.create(mebibytes * kMiB));
    const std::size_t created = probe.free_bytes();
    const CUdeviceptr base = probe.reserve(count * mebibytes * kMiB);
    for (std::size_t i = 0; i < count; ++i) probe.map(base + i * mebibytes * kMiB, mebibytes * kMiB, handles[i]);
    const std::string what = std::to_string(count) + " handles of " + std::to_string(mebibytes) + " MiB: ";
    fact(what + "cuMemGetInfo fell by, against their sum",
         static_cast<double>(before - created) / static_cast<double>(count * mebibytes * kMiB), "ratio");
    fact(what + "mapping them took besides", static_cast<double>(created) - static_cast<double>(probe.free_bytes()),
         "bytes");
    probe.unmap(base, count * mebibytes * kMiB);
    for (const auto handle : handles) probe.must(probe.cuda.cuMemRelease(handle), "cuMemRelease");
    fact(what + "not given back in the end", static_cast<double>(before) - static_cast<double>(probe.free_bytes()),
         "bytes");
  }
  two_processes(probe, 256 * kMiB);

  // Everything that is left, then one too many.
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  std::vector<CUmemGenericAllocationHandle> handles;
  CUresult result = CUDA_SUCCESS;
  for (std::size_t size = 1024 * kMiB; size >= probe.granule; size /= 2) {
    CUmemGenericAllocationHandle handle = 0;
    while ((result = probe.cuda.cuMemCreate(&handle, size, &properties, 0)) == CUDA_SUCCESS) handles.push_back(handle);
  }
  fact("cuMemCreate on a full device", probe.cuda.name(result));
  fact("bytes free on a full device", static_cast<double>(probe.free_bytes()), "bytes");
  CUdeviceptr linear = 0;
  fact("cuMemAlloc on a full device", probe.cuda.name(probe.cuda.cuMemAlloc(&linear, 64 * kMiB)));
  // Does mapping still work where the page tables may need memory?
  const std::size_t count = probe.many(2'000, 16);
  const CUdeviceptr base = probe.reserve(count * 1024 * kMiB);
  std::size_t mapped = 0;
  const std::size_t size = 1024 * kMiB;
  for (; !handles.empty() && mapped < count; ++mapped) {
    result = probe.cuda.cuMemMap(base + mapped * size, size, 0, handles.front(), 0);
    if (result == CUDA_SUCCESS) result = probe.access(base + mapped * size, size);
    if (result != CUDA_SUCCESS) break;
  }
  fact("mappings of 1 GiB made on a full device", static_cast<double>(mapped), "mappings");
  fact("mappings on a full device ended by", result == CUDA_SUCCESS ? "the plan" : probe.cuda.name(result));
  const Kernels kernels(probe.cuda);
  fact("cuModuleLoadData on a full device", probe.cuda.name(kernels.status()));
  if (mapped != 0) probe.unmap(base, mapped * size);
  for (const auto handle : handles) probe.must(probe.cuda.cuMemRelease(handle), "cuMemRelease");
  fact("cuMemAlloc after the release of all", probe.cuda.name(probe.cuda.cuMemAlloc(&linear, 64 * kMiB)));
}

}  // namespace gapless::gpu

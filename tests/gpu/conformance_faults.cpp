// SPDX-License-Identifier: Apache-2.0
// ACC, PEND, ERR: what a device does to work on memory that is not there. Each of these may end the context.
#include "gpu/conformance.hpp"
#include "gpu/kernels.hpp"

namespace gapless::gpu {
namespace {

// A kernel, because fills and copies are checked by the driver before they reach the device.
void touch(Run& run, CUdeviceptr at, CUstream stream) {
  const Kernels kernels(run.cuda);
  run.must(kernels.status(), "cuModuleLoadData");
  run("cuLaunchKernel", kernels.fill(at, 512, 1, stream));
  run("cuStreamSynchronize", run.cuda.cuStreamSynchronize(stream));
  run("cuCtxSynchronize after it", run.cuda.cuCtxSynchronize());
  CUmemGenericAllocationHandle handle = 0;
  const CUmemAllocationProp properties = device_memory();
  run("cuMemCreate after it", run.cuda.cuMemCreate(&handle, run.granule, &properties, 0));
}

void fill_what_is_gone(Run& run) {
  const CUdeviceptr base = run.mapped();
  run.must(run.cuda.cuMemUnmap(base, run.granule), "cuMemUnmap");
  run("cuMemsetD8Async", run.cuda.cuMemsetD8Async(base, 1, 512, nullptr));
  run("cuCtxSynchronize", run.cuda.cuCtxSynchronize());
}

void copy_from_what_is_gone(Run& run) {
  const CUdeviceptr base = run.mapped();
  run.must(run.cuda.cuMemUnmap(base, run.granule), "cuMemUnmap");
  char byte = 0;
  run("cuMemcpyDtoH", run.cuda.cuMemcpyDtoH(&byte, base, 1));
}

void unmap_after_an_event(Run& run) {
  const CUdeviceptr base = run.mapped();
  const CUstream stream = run.stream();
  const CUevent event = run.event();
  run("cuMemsetD8Async", run.cuda.cuMemsetD8Async(base, 1, run.granule, stream));
  run("cuEventRecord", run.cuda.cuEventRecord(event, stream));
  run("cuEventSynchronize", run.cuda.cuEventSynchronize(event));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, run.granule));
  run("cuCtxSynchronize", run.cuda.cuCtxSynchronize());
}

void free_orders(Run& run) {
  CUdeviceptr base = 0;
  const CUstream stream = run.stream();
  run.must(run.cuda.cuMemAlloc(&base, run.granule), "cuMemAlloc");
  run("cuMemsetD8Async", run.cuda.cuMemsetD8Async(base, 1, run.granule, stream));
  run("cuMemFree with work pending", run.cuda.cuMemFree(base));
  run("cuCtxSynchronize", run.cuda.cuCtxSynchronize());
}

}  // namespace

std::vector<Scenario> fault_scenarios() {
  return {
      {"ACC-2 a fill", fill_what_is_gone, true},
      {"ACC-2 a copy to the host", copy_from_what_is_gone, true},
      {"ACC-1 a kernel where nothing is mapped", [](Run& run) { touch(run, run.reserve(1), run.stream()); }, true},
      {"ACC-2 a kernel after cuMemUnmap",
       [](Run& run) {
         const CUdeviceptr base = run.mapped();
         run.must(run.cuda.cuMemUnmap(base, run.granule), "cuMemUnmap");
         touch(run, base, run.stream());
       },
       true},
      {"ACC-3 a kernel without access",
       [](Run& run) {
         const CUdeviceptr base = run.reserve(1);
         run.must(run.cuda.cuMemMap(base, run.granule, 0, run.create(), 0), "cuMemMap");
         touch(run, base, run.stream());
       },
       true},
      {"ACC-1 kept", [](Run& run) { touch(run, run.mapped(), run.stream()); }, true},
      {"PEND-1 kept: unmapped after an event", unmap_after_an_event},
      {"PEND-2 cuMemFree waits", free_orders},
  };
}

}  // namespace gapless::gpu

// SPDX-License-Identifier: Apache-2.0
// Memory and events for other processes: what one process alone can see of it.
#include <sys/mman.h>
#include <unistd.h>

#include "gpu/conformance.hpp"

namespace gapless::gpu {
namespace {

void memory_handle(Run& run) {
  CUdeviceptr base = 0;
  run.must(run.cuda.cuMemAlloc(&base, run.granule), "cuMemAlloc");
  CUipcMemHandle handle{};
  run("cuIpcGetMemHandle", run.cuda.cuIpcGetMemHandle(&handle, base));
  run("cuIpcGetMemHandle inside", run.cuda.cuIpcGetMemHandle(&handle, base + 4096));
  CUdeviceptr again = 0;
  run("cuIpcOpenMemHandle in the same process",
      run.cuda.cuIpcOpenMemHandle(&again, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
  run("cuIpcCloseMemHandle of cuMemAlloc's", run.cuda.cuIpcCloseMemHandle(base));
  run("cuMemFree", run.cuda.cuMemFree(base));
}

void handle_of_a_mapping(Run& run) {
  const CUdeviceptr base = run.reserve(1);
  run.map(base, run.create(1, true));
  CUipcMemHandle handle{};
  run("cuIpcGetMemHandle", run.cuda.cuIpcGetMemHandle(&handle, base));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, run.granule));
}

void descriptor_of_a_file(Run& run) {
  const int fd = ::memfd_create("some-file", MFD_CLOEXEC);
  CUmemGenericAllocationHandle imported = 0;
  void* const os_handle = reinterpret_cast<void*>(static_cast<std::intptr_t>(fd));
  run("cuMemImportFromShareableHandle refuses",
      run.cuda.cuMemImportFromShareableHandle(&imported, os_handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) !=
              CUDA_SUCCESS
          ? CUDA_SUCCESS
          : CUDA_ERROR_UNKNOWN);
  ::close(fd);
}

void event_handle(Run& run) {
  CUevent event = nullptr;
  run("cuEventCreate with times", run.cuda.cuEventCreate(&event, CU_EVENT_INTERPROCESS));
  run.must(run.cuda.cuEventCreate(&event, CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING), "cuEventCreate");
  run("cuEventRecord", run.cuda.cuEventRecord(event, nullptr));
  CUipcEventHandle handle{};
  run("cuIpcGetEventHandle", run.cuda.cuIpcGetEventHandle(&handle, event));
  run("cuEventDestroy", run.cuda.cuEventDestroy(event));
}

}  // namespace

std::vector<Scenario> sharing_scenarios() {
  return {
      {"IPC-2, IPC-3 a memory handle", memory_handle},
      {"IPC-1 a mapping's", handle_of_a_mapping},
      {"HDL-4 a descriptor of a file", descriptor_of_a_file},
      {"an event handle", event_handle},
  };
}

}  // namespace gapless::gpu

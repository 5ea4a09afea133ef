// SPDX-License-Identifier: Apache-2.0
#include "gpu/kernels.hpp"

#include "gpu/kernels_on_simulation.hpp"

// The fat binary that nvcc made of kernels.cu.
extern "C" const unsigned char gapless_gpu_fatbin[];
__asm__(
    ".section .rodata\n"
    ".balign 16\n"
    ".global gapless_gpu_fatbin\n"
    "gapless_gpu_fatbin:\n"
    ".incbin \"" GAPLESS_GPU_FATBIN
    "\"\n"
    ".balign 16\n"
    ".previous\n");

namespace gapless::gpu {
namespace {

constexpr unsigned kThreads = 256;

}  // namespace

Kernels::Kernels(const Cuda& cuda) : cuda_(cuda) {
  if (cuda.simulated) register_on_simulation(cuda);
  CUmodule module = nullptr;
  status_ = cuda.cuModuleLoadData(&module, gapless_gpu_fatbin);
  const auto find = [&](CUfunction& out, const char* name) {
    if (status_ == CUDA_SUCCESS) status_ = cuda.cuModuleGetFunction(&out, module, name);
  };
  find(fill_, "gapless_gpu_fill");
  find(check_, "gapless_gpu_check");
  find(spin_, "gapless_gpu_spin");
  find(gather_, "gapless_gpu_gather");
  find(copy_, "gapless_gpu_copy");
  int processors = 1;
  CUdevice device = 0;
  if (status_ == CUDA_SUCCESS) status_ = cuda.cuDeviceGet(&device, 0);
  if (status_ == CUDA_SUCCESS)
    status_ = cuda.cuDeviceGetAttribute(&processors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device);
  blocks_ = static_cast<unsigned>(processors) * 8;
}

CUresult Kernels::launch(CUfunction function, unsigned blocks, void** parameters, CUstream stream, bool overlap) const {
  if (!overlap) return cuda_.cuLaunchKernel(function, blocks, 1, 1, kThreads, 1, 1, 0, stream, parameters, nullptr);
  CUlaunchAttribute attribute{};
  attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  attribute.value.programmaticStreamSerializationAllowed = 1;
  CUlaunchConfig config{};
  config.gridDimX = blocks;
  config.gridDimY = config.gridDimZ = config.blockDimY = config.blockDimZ = 1;
  config.blockDimX = kThreads;
  config.hStream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cuda_.cuLaunchKernelEx(&config, function, parameters, nullptr);
}

CUresult Kernels::fill(CUdeviceptr words, std::size_t bytes, std::uint32_t value, CUstream stream) const {
  unsigned long long count = bytes / sizeof(std::uint32_t);
  void* parameters[] = {&words, &count, &value};
  return launch(fill_, blocks_, parameters, stream);
}

CUresult Kernels::check(CUdeviceptr words, std::size_t bytes, std::uint32_t value, CUdeviceptr wrong, CUstream stream,
                        bool overlap) const {
  unsigned long long count = bytes / sizeof(std::uint32_t);
  void* parameters[] = {&words, &count, &value, &wrong};
  return launch(check_, blocks_, parameters, stream, overlap);
}

CUresult Kernels::spin(std::uint64_t nanoseconds, CUstream stream) const {
  unsigned long long time = nanoseconds;
  void* parameters[] = {&time};
  return launch(spin_, 1, parameters, stream);
}

CUresult Kernels::gather(CUdeviceptr words, std::size_t bytes, std::size_t stride_bytes, CUdeviceptr sink,
                         CUstream stream) const {
  unsigned long long count = bytes / sizeof(std::uint32_t);
  unsigned long long stride = stride_bytes / sizeof(std::uint32_t);
  void* parameters[] = {&words, &count, &stride, &sink};
  return launch(gather_, blocks_, parameters, stream);
}

CUresult Kernels::copy(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream stream) const {
  unsigned long long count = bytes / 16;
  void* parameters[] = {&to, &from, &count};
  return launch(copy_, blocks_, parameters, stream);
}

}  // namespace gapless::gpu

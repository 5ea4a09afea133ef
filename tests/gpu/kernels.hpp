// SPDX-License-Identifier: Apache-2.0
// Launches of kernels.cu. On the simulated device the same names have CPU bodies and declare what they touch.
#pragma once

#include <cstdint>

#include "gpu/driver_api.hpp"

namespace gapless::gpu {

class Kernels {
 public:
  explicit Kernels(const Cuda& cuda);
  CUresult status() const { return status_; }  // of loading: nothing below works after a failure

  CUresult fill(CUdeviceptr words, std::size_t bytes, std::uint32_t value, CUstream stream) const;
  // Adds the number of wrong words to *wrong, which lies on the device. `overlap`: with programmatic stream
  // serialisation, so that the launch may begin before the kernel ahead of it has ended its last wave.
  CUresult check(CUdeviceptr words, std::size_t bytes, std::uint32_t value, CUdeviceptr wrong, CUstream stream,
                 bool overlap = false) const;
  CUresult spin(std::uint64_t nanoseconds, CUstream stream) const;
  CUresult gather(CUdeviceptr words, std::size_t bytes, std::size_t stride_bytes, CUdeviceptr sink,
                  CUstream stream) const;
  CUresult copy(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream stream) const;

 private:
  CUresult launch(CUfunction function, unsigned blocks, void** parameters, CUstream stream, bool overlap = false) const;

  const Cuda& cuda_;
  CUresult status_ = CUDA_SUCCESS;
  unsigned blocks_ = 1;
  CUfunction fill_ = nullptr, check_ = nullptr, spin_ = nullptr, gather_ = nullptr, copy_ = nullptr;
};

}  // namespace gapless::gpu

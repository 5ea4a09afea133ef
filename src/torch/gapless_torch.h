// SPDX-License-Identifier: Apache-2.0
//
// The C entry points of libgapless_torchM.N.so. C++ and ctypes callers only; PyTorch must be loaded.
#pragma once

#include <cuda_runtime_api.h>
#include <sys/types.h>

#include "gapless/gapless.h"

extern "C" {

/// Makes gapless PyTorch's CUDA allocator. 0: installed; 1: it was already; 2: refused, one line on stderr says why and
/// PyTorch's allocator stays. Call it before the first use of CUDA. Never throws.
GAPLESS_EXPORT int gapless_torch_install(void);

/// 1 while PyTorch's allocator is ours.
GAPLESS_EXPORT int gapless_torch_is_installed(void);

/// The core behind PyTorch's allocator, for gapless.h; NULL before torch.cuda.init().
GAPLESS_EXPORT gapless_allocator* gapless_torch_core(void);

/// The c10::cuda::CUDACachingAllocator::CUDAAllocator, or NULL: for programs that compare allocators in one process.
GAPLESS_EXPORT void* gapless_torch_allocator(void);

/// PyTorch's signatures for torch.cuda.memory.CUDAPluggableAllocator. Throws c10::OutOfMemoryError
/// (torch.OutOfMemoryError in Python) with PyTorch's text; other failures as c10::Error.
GAPLESS_EXPORT void* gapless_malloc(ssize_t bytes, int device, cudaStream_t stream);
GAPLESS_EXPORT void gapless_free(void* pointer, ssize_t bytes, int device, cudaStream_t stream);
}

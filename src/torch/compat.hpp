// SPDX-License-Identifier: Apache-2.0
//
// What differs between PyTorch's minor versions, in one place: names, and the layout that this file was written for.
// One binary serves exactly one minor, because the virtual table of CUDAAllocator changes with nearly every release.
#pragma once

#if __has_include(<torch/headeronly/version.h>)
#include <torch/headeronly/version.h>
#else  // until 2.9
#include <torch/csrc/api/include/torch/version.h>
#endif

#include <c10/core/AllocatorConfig.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>

static_assert(TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 9 && TORCH_VERSION_MINOR <= 15,
              "src/torch knows PyTorch 2.9 to 2.15");
#define GAPLESS_TORCH_MINOR TORCH_VERSION_MINOR

namespace gapless::torch {

namespace cca = c10::cuda::CUDACachingAllocator;

using AnnotationEntry = decltype(cca::SnapshotInfo::external_annotations)::value_type;
using c10::DataPtr;
using c10::DeviceIndex;
using c10::GatheredContext;
using c10::MempoolId_t;
using ApproximateTime = c10::approx_time_t;

// From 2.11 a pool shares ownership of the allocator that gives its segments; before, the caller kept it alive.
#if GAPLESS_TORCH_MINOR >= 11
using PoolSegmentAllocator = std::shared_ptr<cca::CUDAAllocator>;
#else
using PoolSegmentAllocator = cca::CUDAAllocator*;
#endif

// TraceEntry and SegmentInfo hold a stream as cudaStream_t until 2.10, then as void*.
using TraceStream = decltype(cca::TraceEntry::stream_);

// Structs that PyTorch hands us or reads from us by layout. A header of another build of the same minor that differs
// here must not compile. (Measured with g++ 12 and libstdc++, new ABI.)
#if GAPLESS_TORCH_MINOR == 11
static_assert(sizeof(cca::DeviceStats) == 976);
static_assert(sizeof(cca::SnapshotInfo) == 160);
static_assert(sizeof(cca::TraceEntry) == 136);
#elif GAPLESS_TORCH_MINOR == 15
static_assert(sizeof(cca::SnapshotInfo) == 224);
static_assert(sizeof(cca::TraceEntry) == 168);
#endif

}  // namespace gapless::torch

// SPDX-License-Identifier: Apache-2.0
// The logic of each kernel is one header of plain functions: nvcc compiles them for the device, the tests and the
// simulated device's bodies compile them for the host.
#pragma once

#if defined(__CUDACC__)
#define GAPLESS_HD __host__ __device__ __forceinline__
#else
#define GAPLESS_HD inline
#endif

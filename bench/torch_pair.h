/* SPDX-License-Identifier: Apache-2.0
 *
 * PyTorch's native allocator and gapless's in one process, behind C functions: libgapless_bench_torch.so is linked to
 * libc10_cuda and has to be loaded after the simulated device. */
#ifndef GAPLESS_BENCH_TORCH_PAIR_H
#define GAPLESS_BENCH_TORCH_PAIR_H

#include <stddef.h>

namespace gapless::tools {
struct Op;
}

extern "C" {

enum { TORCH_PAIR_NATIVE = 0, TORCH_PAIR_GAPLESS = 1 };

/* Makes both ready on device 0. NULL, or what is wrong. */
const char* torch_pair_open(const char* gapless_torch_library);

/* Allocations and frees through CUDAAllocator::raw_alloc_with_stream and raw_delete, record_stream through
 * recordStream; other operations are skipped. `blocks` is indexed by Op::id, `streams` by Op::stream. The one function
 * that is timed, and the one in which callgrind counts. NULL, or what is wrong. */
const char* torch_pair_run(int which, const gapless::tools::Op* ops, size_t count, void** blocks, void* const* streams);

/* Both give their cached memory back. NULL, or what is wrong. */
const char* torch_pair_trim(void);
}
#endif

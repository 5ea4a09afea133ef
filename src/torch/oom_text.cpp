// SPDX-License-Identifier: Apache-2.0
#include "oom.hpp"

#include <c10/core/Allocator.h>
#include <c10/core/AllocatorConfig.h>
#include <c10/util/StringUtil.h>

namespace gapless::torch {

std::string out_of_memory_text(const OutOfMemoryFacts& facts) {
  using c10::CachingAllocator::format_size;
  const size_t pools = facts.free_in_private_pools;
  const size_t used = facts.allocated + pools;
  const std::string allowed = facts.allowed ? format_size(*facts.allowed) + " allowed; " : "";
  const std::string in_pools =
      pools > 0 ? "with " + format_size(pools) + " allocated in private pools (e.g., CUDA Graphs), " : "";
  return c10::str("CUDA out of memory. Tried to allocate ", format_size(facts.tried), ". GPU ", facts.device,
                  " has a total capacity of ", format_size(facts.device_total), " of which ",
                  format_size(facts.device_free), " is free. ", facts.processes, allowed, "Of the allocated memory ",
                  format_size(used), " is allocated by PyTorch, ", in_pools, "and ",
                  format_size(facts.reserved > used ? facts.reserved - used : 0),
                  " is reserved by PyTorch but unallocated.",
                  " If reserved but unallocated memory is large try setting"
                  " PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
                  "  See documentation for Memory Management "
                  " (https://docs.pytorch.org/docs/stable/notes/"
                  "cuda.html#optimizing-memory-usage-with-pytorch-cuda-alloc-conf)");
}

size_t native_segment_bytes(size_t requested) {
  // c10/core/AllocatorConfig.h: small requests share 2 MiB segments, medium ones 20 MiB, large ones are rounded to 2
  // MiB.
  constexpr size_t kMiB = size_t{1} << 20;
  if (requested <= kMiB) return 2 * kMiB;
  if (requested < 10 * kMiB) return 20 * kMiB;
  return (requested + 2 * kMiB - 1) / (2 * kMiB) * (2 * kMiB);
}

}  // namespace gapless::torch

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace gapless::torch {

/// The figures of PyTorch's out-of-memory text, in bytes.
struct OutOfMemoryFacts {
  int device = 0;
  size_t tried = 0;
  size_t device_total = 0;
  size_t device_free = 0;
  std::optional<size_t> allowed;  // when a memory fraction is set
  size_t allocated = 0;
  size_t free_in_private_pools = 0;
  size_t reserved = 0;
  std::string processes;  // describe_processes()
};

/// The text of PyTorch 2.11, character for character: scripts match parts of it.
std::string out_of_memory_text(const OutOfMemoryFacts& facts);

/// What native would ask the driver for: the text's "Tried to allocate" names the segment, not the request.
size_t native_segment_bytes(size_t requested);

}  // namespace gapless::torch

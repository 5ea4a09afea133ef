// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gapless/gapless.h"

namespace gapless::torch {

/// Lets PyTorch's FreeCudaMemoryCallbacksRegistry ("cuda_ipc_collect" and whatever libraries registered) give memory
/// back before an allocation fails. Once per failing request: callbacks say only that they freed something, not how
/// much.
void add_free_memory_callbacks(gapless_allocator* core);

}  // namespace gapless::torch

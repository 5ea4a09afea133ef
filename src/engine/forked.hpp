// SPDX-License-Identifier: Apache-2.0
// What a forked child is told, whoever of its parent had used CUDA: this allocator, another one, or other code.
#pragma once

#include "base/status.hpp"

namespace gapless::engine {

inline Status forked_child() {
  return base::fail(Status::unsupported,
                    "CUDA cannot be used in a forked child process of one that has used it; spawn it instead");
}

}  // namespace gapless::engine

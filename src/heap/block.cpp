// SPDX-License-Identifier: Apache-2.0
#include "heap/block.hpp"

#include "base/compiler.hpp"

namespace gapless::heap {

GAPLESS_SLOW BlockId BlockPool::take_fresh() {
  const BlockId id = used_ == 0 ? 1 : used_;  // record 0 is the dummy
  if (!blocks_.grow_to(std::size_t{id} + 1) || !notes_.grow_to(std::size_t{id} + 1)) return kNoBlock;
  used_ = id + 1;
  return id;
}

}  // namespace gapless::heap

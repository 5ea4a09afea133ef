// SPDX-License-Identifier: Apache-2.0
//
// Who holds PyTorch's gathered contexts (stack traces) for live blocks and segments.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "compat.hpp"

namespace gapless::torch {

using Context = std::shared_ptr<GatheredContext>;

/// Contexts by the cookie that gapless keeps with a block. A table of numbers rather than pointers in the cookies: a
/// snapshot may look a cookie up after its block has died on another thread, and must then find nothing instead of
/// freed memory. Thread-safe; contexts are destroyed outside the lock.
class ContextTable {
 public:
  /// The cookie for `context`, never 0; 0 for no context.
  uint64_t add(Context context);
  Context find(uint64_t cookie) const;
  void release(uint64_t cookie);

 private:
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, Context> contexts_;
  uint64_t next_ = 1;
};

/// Contexts of mapped ranges: which allocation made this memory appear. Ranges are added as they are mapped and may be
/// unmapped in other pieces. Thread-safe.
class SegmentContexts {
 public:
  void map(uint64_t address, size_t bytes, Context context);
  void unmap(uint64_t address, size_t bytes);
  Context at(uint64_t address) const;
  void clear();

 private:
  struct Range {
    uint64_t end;
    Context context;
  };
  mutable std::mutex mutex_;
  std::map<uint64_t, Range> ranges_;  // by start; disjoint
};

}  // namespace gapless::torch

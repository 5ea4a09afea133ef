// SPDX-License-Identifier: Apache-2.0
// Checks of invariants. Each names its invariant (docs/invariants.md) and its cost:
//   1  O(1), compiled into release builds
//   2  O(1), on paths where even that is felt; debug and sanitizer builds
//   3  walks a whole structure
// GAPLESS_CHECK_LEVEL says up to which level checks are compiled in (default: 1 with NDEBUG, else 2).
#pragma once

#include <stdexcept>
#include <string>

#ifndef GAPLESS_CHECK_LEVEL
#ifdef NDEBUG
#define GAPLESS_CHECK_LEVEL 1
#else
#define GAPLESS_CHECK_LEVEL 2
#endif
#endif

namespace gapless::base {

// A broken invariant is a bug in gapless. The C ABI's fence turns it into GAPLESS_ERROR_INTERNAL with this text.
class BrokenInvariant : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] void broken_invariant(const char* id, const char* condition, const char* file, int line);

}  // namespace gapless::base

// `level` is a literal, so that a check above the level leaves no code.
#define GAPLESS_CHECK(level, id, condition)                                    \
  do {                                                                         \
    if constexpr ((level) <= GAPLESS_CHECK_LEVEL) {                            \
      if (!(condition)) [[unlikely]]                                           \
        ::gapless::base::broken_invariant(id, #condition, __FILE__, __LINE__); \
    }                                                                          \
  } while (false)

// SPDX-License-Identifier: Apache-2.0
// Marks that show the shape of the hot path to the reader and to the compiler.
#pragma once

// The hit path: always inlined, so that its cost is the sum of what is read.
#define GAPLESS_FAST [[gnu::always_inline]] inline
// Everything else: never inlined into it, so that its registers and stack are not paid for. (Not gnu::cold: GCC then
// takes every path that can reach such a call for cold, the end of a hit included.)
#define GAPLESS_SLOW [[gnu::noinline]]

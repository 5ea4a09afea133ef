// SPDX-License-Identifier: Apache-2.0
// A broken byte in words.
#pragma once

#include <string>

#include "gapless/gapless.h"

namespace gapless::guard {

// Several lines: what is broken, whose it is, who lay there before.
std::string text_of(const gapless_guard_finding& finding);

}  // namespace gapless::guard

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "gapless/gapless.h"

namespace gapless::torch {

/// Lets keys `gapless_NAME` stand in PyTorch's configuration strings of the environment, whose parsers refuse keys that
/// nobody announced. Call it before they are first parsed.
void announce_own_keys();

/// Parses PyTorch's configuration strings of the environment, as native does when it starts: a bad one raises inside
/// torch.cuda.init(). A replacement that did not touch them would raise at some later, unrelated call.
void parse_configuration();

/// per_process_memory_fraction of the string that was parsed last; 1 where this PyTorch has no such key.
double configured_fraction();

/// Says on stderr what the configuration named and gapless has no use for: a misspelt or useless setting changes
/// nothing, so nobody would find out. Each line once a process.
void warn_of_settings(gapless_allocator* core);

/// From now on a string that the program sets at run time (torch._C._accelerator_setAllocatorSettings and its older
/// names) reaches `core` too. PyTorch tells its allocators nothing: native reads the parsed values at each request, so
/// this puts itself behind PyTorch's own parser. From PyTorch 2.11 on; before that nothing. `core` must never be
/// closed.
void follow_settings(gapless_allocator* core);

}  // namespace gapless::torch

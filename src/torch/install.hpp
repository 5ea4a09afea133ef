// SPDX-License-Identifier: Apache-2.0
//
// Who is PyTorch's allocator: putting ours in, and out again.
#pragma once

#include <string>

#include "compat.hpp"

namespace gapless::torch {

enum class InstallResult : int {
  kInstalled = 0,
  kAlready = 1,
  kRefused = 2,
};

/// Makes gapless PyTorch's CUDA allocator if nothing speaks against it: this PyTorch is the one this library was built
/// for, its native allocator is in place, and it has not been initialised. Otherwise one warning line, and nothing
/// changes. Touches no device: devices are examined by init(). Thread-safe.
InstallResult install();

/// For gapless_malloc: the first call through CUDAPluggableAllocator puts the full allocator in the pluggable one's
/// place, so that statistics, pools, streams and graphs work as by the other ways in. Blocks that went through the
/// pluggable allocator still come back through gapless_free.
void replace_pluggable();

/// Makes `previous` the allocator of PyTorch (again).
void put_back(cca::CUDAAllocator* previous);

/// "gapless: not installed, PyTorch's own allocator stays: <why>" on stderr, in one write.
void warn_not_installed(const std::string& why);

}  // namespace gapless::torch

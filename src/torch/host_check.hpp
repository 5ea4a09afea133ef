// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace gapless::torch {

/// Empty when the PyTorch in this process has the interface that this library was compiled for, else what differs. Two
/// independent looks: the version that the libraries report, and the virtual table of an allocator of PyTorch's own,
/// which catches nightlies and vendor builds whose version says nothing.
std::string check_host();

}  // namespace gapless::torch

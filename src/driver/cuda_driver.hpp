// SPDX-License-Identifier: Apache-2.0
// DriverOps over libcuda.so.1.
#pragma once

#include <memory>
#include <string>

#include "driver/driver.hpp"

namespace gapless::driver {

// Null, with the reason in `why_not`, where there is no libcuda.so.1 or where it lacks a function that gapless needs.
// Neither loads nor initialises anything at program start; CUDA itself is initialised by the first call that needs it,
// so that a process which opens the driver and then forks does not lose CUDA in its children. From then on a failed
// initialisation is the result of every call.
//
// Every call may be made on any thread, with or without a current context, and leaves the thread's context as it was.
// The primary context of a device is retained at the first call that needs it and never released: at process exit the
// driver is gone before static objects are.
std::unique_ptr<DriverOps> open_cuda_driver(std::string& why_not);

}  // namespace gapless::driver

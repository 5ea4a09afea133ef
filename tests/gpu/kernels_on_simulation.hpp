// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gpu/driver_api.hpp"

namespace gapless::gpu {

// Gives the kernels of kernels.cu CPU bodies, and says what each of them touches. Needs `data=1`.
void register_on_simulation(const Cuda& cuda);

}  // namespace gapless::gpu

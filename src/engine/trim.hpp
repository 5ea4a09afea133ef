// SPDX-License-Identifier: Apache-2.0
// Giving physical memory back.
#pragma once

#include "engine/private_pools.hpp"

namespace gapless::engine {

// No handle is made ahead until memory grows again; those that were are loose. Under the map lock.
void list_ready(DeviceState& state);

// Waits for pending uses, then releases idle handles of `pool` (null: of the default pool and of dead ones) until at
// most `keep` bytes stay reserved. Addresses stay. Under the map lock. Errors: DRIVER (what was released stays
// released).
Status trim(DeviceState& state, PrivatePools& pools, PrivatePool* pool, std::uint64_t keep, std::uint64_t& released);

}  // namespace gapless::engine

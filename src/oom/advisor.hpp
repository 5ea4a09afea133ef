// SPDX-License-Identifier: Apache-2.0
// What an OOM record suggests, and the forecast that is asked for: the engine's figures brought to the learner.
#pragma once

#include "engine/device_allocator.hpp"
#include "learn/learner.hpp"

namespace gapless::oom {

// Adds the suggestion to a record that is about to be shown, and learns from the failure. No lock held.
void advise(engine::DeviceAllocator& device, learn::Learner& learner, gapless_oom_record& record);

// What a step of `units` like the one under way would need. Errors: NOT_FOUND (no step marked, or none seen whole).
Status forecast(engine::DeviceAllocator& device, learn::Learner& learner, std::uint64_t units, gapless_forecast& out);

}  // namespace gapless::oom

// SPDX-License-Identifier: Apache-2.0
// The snapshot walker.
#include "engine/snapshot.hpp"

#include <algorithm>

#include "capi/fence.hpp"
#include "capi/handle.hpp"
#include "capi/structs.hpp"

using gapless::Status;
using gapless::capi::fenced;
using gapless::engine::SegmentCopy;

namespace {

// Nothing is locked: the visitor may call back.
void show(const gapless_snapshot_visitor& visitor, const std::vector<SegmentCopy>& segments) {
  for (const SegmentCopy& segment : segments) {
    if (visitor.on_segment != nullptr && visitor.on_segment(visitor.user, &segment.view) != 0) return;
    if (visitor.on_block == nullptr) continue;
    for (const gapless_block_view& block : segment.blocks)
      if (visitor.on_block(visitor.user, &block) != 0) return;
  }
}

}  // namespace

extern "C" gapless_status gapless_walk_snapshot(gapless_allocator* allocator, int32_t device,
                                                const gapless_pool_id* pool, const gapless_snapshot_visitor* visitor) {
  return fenced([&] {
    if (allocator == nullptr) return gapless::capi::null_argument("allocator");
    gapless_snapshot_visitor given{};
    if (!gapless::capi::read_struct(visitor, given))
      return gapless::base::fail(Status::invalid_argument, "visitor is NULL or its struct_size is not set");
    gapless::engine::DeviceAllocator* only = nullptr;
    if (device != -1)
      if (const Status status = allocator->engine->peek(device, only); status != Status::ok) return status;
    std::vector<SegmentCopy> segments;
    allocator->engine->for_each_device([&](gapless::engine::DeviceAllocator& one) {
      if (device == -1 || device == one.state().device) gapless::engine::copy_segments(one.state(), pool, segments);
    });
    std::sort(segments.begin(), segments.end(),
              [](const SegmentCopy& a, const SegmentCopy& b) { return a.view.address < b.view.address; });
    show(given, segments);
    return Status::ok;
  });
}

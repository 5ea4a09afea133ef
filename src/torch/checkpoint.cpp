// SPDX-License-Identifier: Apache-2.0
//
// cudagraph trees: remember a private pool's layout, and make it so again.
#include "allocator.hpp"
#include "check.hpp"

namespace gapless::torch {

namespace {

struct Checkpoint final : cca::AllocatorState {
  Checkpoint(gapless_checkpoint* state_, MempoolId_t pool_) : state(state_), pool(std::move(pool_)) {}
  ~Checkpoint() override { gapless_checkpoint_destroy(state); }
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  gapless_checkpoint* const state;
  const MempoolId_t pool;
};

struct Delta {
  std::vector<void*> freed;
  std::vector<void*> allocated;

  static void on_freed(void* user, void* address) { static_cast<Delta*>(user)->freed.push_back(address); }
  static void on_allocated(void* user, void* address) { static_cast<Delta*>(user)->allocated.push_back(address); }
};

}  // namespace

std::shared_ptr<cca::AllocatorState> TorchAllocator::getCheckpointState(DeviceIndex device, MempoolId_t pool) {
  gapless_checkpoint* state = nullptr;
  const gapless_status status = gapless_pool_checkpoint(core_for(device), device, pool_id(pool), &state);
  TORCH_CHECK(status != GAPLESS_ERROR_NOT_FOUND, "Could not find pool of id");
  check(status, "getCheckpointState");
  return std::make_shared<Checkpoint>(state, std::move(pool));
}

cca::CheckpointDelta TorchAllocator::setCheckpointPoolState(DeviceIndex device,
                                                            std::shared_ptr<cca::AllocatorState> state) {
  const auto checkpoint = std::dynamic_pointer_cast<Checkpoint>(state);
  TORCH_CHECK(checkpoint != nullptr, "gapless: a checkpoint of another allocator cannot be restored");
  Delta changes;
  check(gapless_pool_restore(core_for(device), device, checkpoint->state, &changes, &Delta::on_freed,
                             &Delta::on_allocated),
        "setCheckpointPoolState");
  cca::CheckpointDelta delta;
  delta.ptrs_freed = std::move(changes.freed);
  for (void* address : changes.allocated) {
    delta.dataptrs_allocd.emplace_back(address, address, &delete_cached, c10::Device(c10::DeviceType::CUDA, device));
  }
  return delta;
}

}  // namespace gapless::torch

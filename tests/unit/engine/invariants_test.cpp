// SPDX-License-Identifier: Apache-2.0
// The engine's own invariants, broken on purpose and mended again.
#include <mutex>
#include <string>

#include "engine/homes.hpp"
#include "engine/pending.hpp"
#include "fixture.hpp"

namespace gapless::engine {
namespace {

class InvariantsTest : public EngineTest {
 protected:
  void SetUp() override {
    open(64 * kMiB);
    block_ = allocate(5 * kMiB);
    ASSERT_EQ(allocator->engine->device(0, one_), Status::ok);
    heap_ = one_->state().heaps.front().get();
    id_ = heap_->heap.block_at(Units(0));
  }
  template <typename Call>
  static std::string broken(Call call) {
    try {
      call();
    } catch (const base::BrokenInvariant& found) {
      const std::string text = found.what();
      return text.substr(10, text.find(" is broken") - 10);
    }
    return "none";
  }
  std::string broken() {
    return broken([&] { one_->validate(); });
  }
  void* block_ = nullptr;
  DeviceAllocator* one_ = nullptr;
  BackedHeap* heap_ = nullptr;
  heap::BlockId id_ = 0;
};

TEST_F(InvariantsTest, E1LiveBytes) {
  one_->state().counters.on_alloc(heap::SizeClass::large, Units(3), 1000);
  EXPECT_EQ(broken(), "E1");
  one_->state().counters.on_free(heap::SizeClass::large, Units(3), 1000);
  EXPECT_EQ(broken(), "none");
  free(block_);
}

TEST_F(InvariantsTest, E1Reserved) {
  one_->state().physical += 1;
  EXPECT_EQ(broken(), "E1");
  one_->state().physical -= 1;
  free(block_);
}

TEST_F(InvariantsTest, I2UnderALiveBlock) {
  const vmm::HandleId handle = heap_->slots.active(1);
  {
    const std::lock_guard guard(one_->state().fast);
    heap_->slots.set_ok(1, false);
    one_->state().ledger.deactivate(handle, 0);
    one_->state().ledger.list(handle);
  }
  EXPECT_EQ(broken(), "I2");
  {
    const std::lock_guard guard(one_->state().fast);
    one_->state().ledger.unlist(handle);
    one_->state().ledger.activate(handle, heap_->space, 1);
    heap_->slots.set_ok(1, true);
  }
  EXPECT_EQ(broken(), "none");
  free(block_);
}

TEST_F(InvariantsTest, E2ABusyHeapIsNotRetired) {
  EXPECT_EQ(broken([&] { retire_heap(one_->state(), *heap_); }), "E2");
  free(block_);
}

TEST_F(InvariantsTest, E3OnlyPendingBlocksAreCompleted) {
  void* const side = make_stream();
  ASSERT_EQ(gapless_record_stream(allocator, block_, side), GAPLESS_OK);
  free(block_);
  ASSERT_EQ(one_->state().blocks[id_].state, heap::BlockState::pending);
  one_->state().blocks[id_].state = heap::BlockState::live;
  EXPECT_EQ(broken([&] {
              const std::lock_guard map(one_->state().map);
              settle_pending(one_->state(), Settle::wait);
            }),
            "E3");
  // What the broken run had taken off the queue is put back by hand.
  one_->state().counters.on_pending(heap::SizeClass::large, one_->state().blocks[id_].size, -1);
  const std::lock_guard guard(one_->state().fast);
  heap_->heap.free(id_, heap_->stream->epoch());
}

}  // namespace
}  // namespace gapless::engine

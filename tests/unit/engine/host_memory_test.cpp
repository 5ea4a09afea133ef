// SPDX-License-Identifier: Apache-2.0
// The host's memory: a hit asks for none, a miss not while it holds the fast lock, and where there is none left nothing
// has happened.
#include <malloc.h>

#include <utility>
#include <vector>

#include "fixture.hpp"
#include "host_memory_watch.hpp"

namespace gapless::engine {
namespace {

class HostMemory : public EngineTest {
 protected:
  // Of what is done in `work`, on this thread.
  template <typename Work>
  Watch watched(std::uint64_t fail_at, Work work) {
    base::FastLock* fast = nullptr;
    allocator->engine->for_each_device([&](DeviceAllocator& one) { fast = &one.state().fast; });
    watch = Watch{fast, fail_at};
    work();
    return std::exchange(watch, Watch{});
  }
  void listen() {
    gapless_listener listener = GAPLESS_STRUCT(gapless_listener);
    listener.user = &events_;
    listener.kinds = ~0u;
    listener.on_event = [](void* user, const gapless_event*) -> std::uint64_t {
      ++*static_cast<std::uint64_t*>(user);
      return 0;
    };
    ASSERT_EQ(gapless_set_listener(allocator, &listener), GAPLESS_OK);
  }
  std::uint64_t events_ = 0;
};

TEST_F(HostMemory, AHitMakesNoDriverCallAndAsksForNone) {
  open();
  free(allocate(1));
  std::vector<std::uint64_t> sizes;
  for (std::uint64_t i = 1; i < 200; i++) sizes.push_back(i * 33333 % (9 * kMiB) + 1);
  std::vector<void*> blocks(sizes.size());
  // A first round creates, a second settles where the layout of the first differed.
  const auto round = [&] {
    for (std::size_t i = 0; i < sizes.size(); i++)
      if (gapless_allocate(allocator, 0, nullptr, sizes[i], &blocks[i]) != GAPLESS_OK) std::abort();
    for (std::size_t i = 0; i < sizes.size(); i++)
      if (gapless_deallocate(allocator, blocks[(i * 13) % sizes.size()]) != GAPLESS_OK) std::abort();
  };
  EXPECT_GT(watched(0, round).requests, 0u) << "the first round makes tables: if it is not seen, nothing is";
  for (int i = 0; i < 3; i++) round();
  const gapless_stats before = stats();
  const std::uint64_t calls = faults_->memory_calls();
  const std::uint64_t events = faults_->calls(driver::Call::event_record) + faults_->calls(driver::Call::event_query) +
                               faults_->calls(driver::Call::capture_info);
  const struct mallinfo2 host = mallinfo2();
  const Watch seen = watched(0, [&] {
    for (int i = 0; i < 50; i++) round();
  });
  EXPECT_EQ(mallinfo2().uordblks, host.uordblks) << "and none past operator new";
  EXPECT_EQ(seen.requests, 0u);
  EXPECT_EQ(faults_->memory_calls(), calls);
  EXPECT_EQ(faults_->calls(driver::Call::event_record) + faults_->calls(driver::Call::event_query) +
                faults_->calls(driver::Call::capture_info),
            events);
  EXPECT_EQ(stats().misses, before.misses);
  EXPECT_EQ(stats().hits - before.hits, static_cast<std::int64_t>(50 * sizes.size()));
}

// Events are noted under the fast lock: where they go has room from the last ones.
TEST_F(HostMemory, AHitThatIsListenedToAsksForNone) {
  open();
  listen();
  const auto round = [&] {
    void* block = nullptr;
    if (gapless_allocate(allocator, 0, nullptr, 3 * kMiB, &block) != GAPLESS_OK) std::abort();
    if (gapless_deallocate(allocator, block) != GAPLESS_OK) std::abort();
  };
  for (int i = 0; i < 4; i++) round();
  const std::uint64_t noted = events_;
  const Watch seen = watched(0, [&] {
    for (int i = 0; i < 50; i++) round();
  });
  EXPECT_EQ(seen.requests, 0u);
  EXPECT_EQ(events_ - noted, 150u);
}

// Two streams on a device that is nearly full: blocks are made of what is created, of what the stream left elsewhere
// and of what the other one did, over places that have old mappings.
class Crowded : public HostMemory {
 protected:
  void open_crowded() {
    config::Options options;
    options.lending = false;
    open(64 * kMiB, options);
    listen();
    streams_ = {make_stream(), make_stream()};
    for (std::uint64_t i = 0; i < 3; i++)
      for (void* const stream : streams_) blocks_.push_back(allocate((5 + i) * kMiB, stream));
    for (std::size_t i = 0; i < blocks_.size(); i++)
      if (i != 3) free(blocks_[i]);
    blocks_ = {blocks_[3]};
    // Leaves dormant mappings where the next ones will go.
    free(allocate(30 * kMiB, streams_[0]));
    free(allocate(25 * kMiB, streams_[1]));
  }
  void close() {
    for (void* const block : blocks_) free(block);
    blocks_.clear();
    TearDown();
    allocator = nullptr;
  }
  static constexpr std::uint64_t kBytes = 41 * kMiB;
  std::vector<void*> streams_;
  std::vector<void*> blocks_;
};

TEST_F(Crowded, AMissAsksForNoneUnderTheFastLock) {
  open_crowded();
  for (int i = 0; i < 20; i++) {
    void* out = nullptr;
    const Watch seen = watched(0, [&] { static_cast<void>(try_allocate(kBytes, out, streams_[i % 2 == 0])); });
    ASSERT_NE(out, nullptr);
    EXPECT_EQ(seen.under_the_lock, 0u) << "of " << seen.requests << " requests, miss " << i;
    free(out);
  }
  EXPECT_GT(stats().moves, 20);
  close();
}

TEST_F(Crowded, WhereThereIsNoneLeftNothingHasHappened) {
  for (std::uint64_t fail_at = 1;; fail_at++) {
    open_crowded();
    const gapless_stats before = stats();
    void* out = nullptr;
    gapless_status status = GAPLESS_OK;
    const Watch seen = watched(fail_at, [&] { status = try_allocate(kBytes, out, streams_[0]); });
    const bool refused = seen.requests >= fail_at;
    SCOPED_TRACE(fail_at);
    validate();
    if (status == GAPLESS_OK) {
      free(out);
    } else {
      EXPECT_TRUE(refused) << gapless_last_error();
      EXPECT_EQ(stats().allocated_bytes[GAPLESS_ALL].current, before.allocated_bytes[GAPLESS_ALL].current);
    }
    free(allocate(kBytes, streams_[0]));
    for (void* const block : blocks_) free(block);
    blocks_.clear();
    std::uint64_t released = 0;
    EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_OK);
    validate();
    EXPECT_EQ(reserved(), 0u);
    allocator->engine->for_each_device([](DeviceAllocator& one) {
      for (const auto& heap : one.state().heaps) EXPECT_TRUE(heap->heap.empty()) << "a place was lost";
    });
    close();
    if (!refused) {
      EXPECT_GT(fail_at, 5u);
      break;
    }
  }
}

}  // namespace
}  // namespace gapless::engine

// SPDX-License-Identifier: Apache-2.0
// The host's memory: a hit asks for none, a miss not while it holds the fast lock, and where there is none left nothing
// has happened.
#include <malloc.h>

#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "fixture.hpp"
#include "host_memory_watch.hpp"
#include "support/device_work.hpp"

namespace gapless::engine {
namespace {

class HostMemory : public EngineTest {
 protected:
  // Of what is done in `work`, on this thread.
  template <typename Work>
  Watch watched(std::uint64_t fail_at, Work work, bool and_all_later = false) {
    base::FastLock* fast = nullptr;
    allocator->engine->for_each_device([&](DeviceAllocator& one) { fast = &one.state().fast; });
    watch() = Watch{fast, fail_at, and_all_later};
    work();
    return std::exchange(watch(), Watch{});
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

struct Scene {
  const char* name;
  bool listened = false, lending = false, sharing = false, background = false;
  bool pending = false;   // a freed block waits for a stream that it was recorded on
  bool for_good = false;  // once refused, all later requests are
  std::int32_t stream = 1;

  friend void PrintTo(const Scene& scene, std::ostream* out) { *out << scene.name; }
};

// Two streams on a device that is nearly full and nobody's work is over: blocks are made of what is created, of what
// the stream left elsewhere and of what the other one did, over places that have old mappings.
class Crowded : public HostMemory, public ::testing::WithParamInterface<Scene> {
 protected:
  void open_crowded() {
    config::Options options;
    options.lending = GetParam().lending;
    options.background_creation = GetParam().background;
    if (GetParam().sharing) options.stream_sharing = config::Toggle::on;
    driver::sim::Config machine;
    machine.completion = driver::sim::Completion::lazy;
    open(64 * kMiB, options, machine);
    work_ = std::make_unique<testing::DeviceWork>(*machine_, 4);
    if (GetParam().listened) listen();
    std::vector<void*> blocks;
    for (std::uint64_t i = 0; i < 3; i++)
      for (const std::int32_t stream : {1, 2}) blocks.push_back(used((5 + i) * kMiB, stream));
    kept_ = blocks[3];
    for (void* const block : blocks)
      if (block != kept_) free(block);
    // Leaves dormant mappings where the next ones will go.
    free(used(30 * kMiB, 1));
    free(used(25 * kMiB, 2));
    if (!GetParam().pending) return;
    void* const block = used(6 * kMiB, 1);
    ASSERT_EQ(gapless_record_stream(allocator, block, work_->stream(2)), GAPLESS_OK);
    work_->read_from(2, 1, reinterpret_cast<std::uint64_t>(block), 6 * kMiB);
    free(block);
  }
  void close() {
    free(kept_);
    TearDown();
    allocator = nullptr;
    work_.reset();
  }
  void* used(std::uint64_t bytes, std::int32_t stream) {
    void* const block = allocate(bytes, work_->stream(stream));
    work_->write(stream, reinterpret_cast<std::uint64_t>(block), bytes);
    return block;
  }
  // Whatever was left behind serves every stream.
  void serve_all_streams() {
    for (const std::int32_t stream : {3, 2, 1}) free(used(kBytes, stream));
    std::uint64_t released = 0;
    EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_OK) << gapless_last_error();
    validate();
    allocator->engine->for_each_device([](DeviceAllocator& one) {
      std::uint32_t busy = 0;
      for (const auto& heap : one.state().heaps) busy += heap->heap.busy_blocks();
      EXPECT_EQ(busy, 1u) << "a place was lost";
      EXPECT_TRUE(one.state().pending.empty());
    });
  }
  // Plays the scene until nothing is left to refuse. play(refused): refused(work) says whether work was refused
  // anything.
  template <typename Play>
  void refuse_each(Play play) {
    bool any = true;
    for (std::uint64_t fail_at = 1; any && !HasFailure(); fail_at++) {
      SCOPED_TRACE(fail_at);
      open_crowded();
      play([&](auto work) { return any = watched(fail_at, work, GetParam().for_good).requests >= fail_at; });
      serve_all_streams();
      close();
    }
  }
  static constexpr std::uint64_t kBytes = 41 * kMiB;
  std::unique_ptr<testing::DeviceWork> work_;
  void* kept_ = nullptr;
};

TEST_P(Crowded, WhereThereIsNoneLeftNothingHasHappened) {
  refuse_each([&](const auto& refused) {
    const std::int64_t before = stats().allocated_bytes[GAPLESS_ALL].current;
    void* out = nullptr;
    gapless_status status = GAPLESS_OK;
    const bool any = refused([&] { status = try_allocate(kBytes, out, work_->stream(GetParam().stream)); });
    validate();
    if (status == GAPLESS_OK) {
      work_->write(GetParam().stream, reinterpret_cast<std::uint64_t>(out), kBytes);
      free(out);
    } else {
      EXPECT_TRUE(any) << gapless_last_error();
      EXPECT_EQ(stats().allocated_bytes[GAPLESS_ALL].current, before);
    }
  });
}

TEST_P(Crowded, AFreeIsDoneAllTheSame) {
  refuse_each([&](const auto& refused) {
    void* const block = used(4 * kMiB, 1);
    ASSERT_EQ(gapless_record_stream(allocator, block, work_->stream(2)), GAPLESS_OK);
    work_->read_from(2, 1, reinterpret_cast<std::uint64_t>(block), 4 * kMiB);
    gapless_status status = GAPLESS_OK;
    refused([&] { status = gapless_deallocate(allocator, block); });
    EXPECT_EQ(status, GAPLESS_OK) << gapless_last_error();
    validate();
  });
}

TEST_P(Crowded, AStreamIsForgottenOrNot) {
  refuse_each([&](const auto& refused) {
    gapless_status status = GAPLESS_OK;
    const bool any = refused([&] { status = gapless_forget_stream(allocator, 0, work_->stream(2)); });
    EXPECT_TRUE(status == GAPLESS_OK || any) << gapless_last_error();
    validate();
  });
}

INSTANTIATE_TEST_SUITE_P(Scenes, Crowded,
                         ::testing::Values(Scene{.name = "plain"}, Scene{.name = "listened", .listened = true},
                                           Scene{.name = "lent", .lending = true},
                                           Scene{.name = "lent_and_listened", .listened = true, .lending = true},
                                           Scene{.name = "pending", .pending = true},
                                           Scene{.name = "pending_and_listened", .listened = true, .pending = true},
                                           Scene{.name = "first_of_a_stream", .stream = 3},
                                           Scene{.name = "first_of_a_stream_lent", .lending = true, .stream = 3},
                                           Scene{.name = "shared", .sharing = true},
                                           Scene{.name = "first_of_a_stream_shared", .sharing = true, .stream = 3},
                                           Scene{.name = "background", .background = true},
                                           Scene{
                                               .name = "for_good", .lending = true, .pending = true, .for_good = true},
                                           Scene{.name = "first_of_a_stream_for_good", .for_good = true, .stream = 3}),
                         [](const auto& scene) { return std::string(scene.param.name); });

class CrowdedMiss : public Crowded {};

TEST_P(CrowdedMiss, AsksForNoneUnderTheFastLock) {
  open_crowded();
  for (int i = 0; i < 20; i++) {
    void* out = nullptr;
    const Watch seen = watched(0, [&] { static_cast<void>(try_allocate(kBytes, out, work_->stream(1 + i % 2))); });
    ASSERT_NE(out, nullptr);
    EXPECT_EQ(seen.under_the_lock, 0u) << "of " << seen.requests << " requests, miss " << i;
    free(out);
  }
  EXPECT_GT(stats().moves, 20);
  close();
}

INSTANTIATE_TEST_SUITE_P(Scenes, CrowdedMiss,
                         ::testing::Values(Scene{.name = "plain"}, Scene{.name = "listened", .listened = true}),
                         [](const auto& scene) { return std::string(scene.param.name); });

}  // namespace
}  // namespace gapless::engine

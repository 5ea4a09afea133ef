// SPDX-License-Identifier: Apache-2.0
// Streams that share a heap. The machine is strict and lazy: an order that is missing is a violation.
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "engine/sharing.hpp"
#include "fixture.hpp"
#include "policy/traffic.hpp"
#include "support/device_work.hpp"

namespace gapless::engine {
namespace {

using testing::DeviceWork;

class SharingTest : public EngineTest {
 protected:
  void open_sharing(std::uint64_t device_bytes = 64 * kMiB, config::Toggle sharing = config::Toggle::on) {
    config::Options options;
    options.stream_sharing = sharing;
    driver::sim::Config config;
    config.completion = driver::sim::Completion::lazy;
    open(device_bytes, options, config);
    work_ = std::make_unique<DeviceWork>(*machine_, 12);
    ASSERT_EQ(allocator->engine->device(0, one_), Status::ok);
  }
  void TearDown() override {
    EngineTest::TearDown();
    work_.reset();
  }
  void* used(std::uint64_t bytes, std::int32_t stream) {
    void* const block = allocate(bytes, work_->stream(stream));
    work_->write(stream, reinterpret_cast<std::uint64_t>(block), bytes);
    return block;
  }
  void read_on(std::int32_t reader, std::int32_t owner, void* block, std::uint64_t bytes) {
    ASSERT_EQ(gapless_record_stream(allocator, block, work_->stream(reader)), GAPLESS_OK);
    work_->read_from(reader, owner, reinterpret_cast<std::uint64_t>(block), bytes);
  }
  std::int64_t active() { return stats().active_bytes[GAPLESS_ALL].current; }

  std::unique_ptr<DeviceWork> work_;
  DeviceAllocator* one_ = nullptr;
};

TEST_F(SharingTest, FreedMemoryIsTheNextStreamsWithOneWaitEdge) {
  open_sharing();
  void* const a = used(60 * kMiB, 1);
  free(a);
  const std::uint64_t calls = faults_->memory_calls();
  void* const b = used(60 * kMiB, 2);
  EXPECT_EQ(b, a) << "the same place";
  EXPECT_EQ(faults_->memory_calls(), calls) << "nothing is mapped";
  EXPECT_EQ(stats().wait_edges, 1);
  EXPECT_EQ(stats().stalls, 0);
  free(b);
  void* const c = used(60 * kMiB, 2);
  EXPECT_EQ(stats().wait_edges, 1) << "its own order is enough";
  gapless_block_info info = GAPLESS_STRUCT(gapless_block_info);
  ASSERT_EQ(gapless_block_of(allocator, c, &info), GAPLESS_OK);
  EXPECT_EQ(info.stream, work_->stream(2));
  free(c);
  validate();
}

TEST_F(SharingTest, OnlyTheUsersOfAPartAreWaitedFor) {
  open_sharing();
  void* const a = used(20 * kMiB, 1);
  void* const b = used(20 * kMiB, 2);
  free(a);
  free(b);
  // One free block of 40 MiB by now. Its front was stream 1's.
  EXPECT_EQ(used(20 * kMiB, 1), a);
  EXPECT_EQ(stats().wait_edges, 0);
  void* const c = used(20 * kMiB, 1);
  EXPECT_EQ(c, b);
  EXPECT_EQ(stats().wait_edges, 1);
  free(a);
  free(c);
  validate();
}

TEST_F(SharingTest, ARecordedBlockIsFreeAtOnce) {
  open_sharing();
  free(used(4 * kMiB, 2));  // a member
  void* const a = used(40 * kMiB, 1);
  read_on(2, 1, a, 40 * kMiB);
  free(a);
  EXPECT_EQ(active(), 0);
  void* const b = used(40 * kMiB, 2);
  void* const c = used(10 * kMiB, 1);
  EXPECT_EQ(stats().stalls, 0);
  free(b);
  free(c);
  validate();
}

TEST_F(SharingTest, ARecordedStreamThatIsNoMemberIsWaitedFor) {
  open_sharing();
  void* const a = used(40 * kMiB, 1);
  read_on(3, 1, a, 40 * kMiB);
  free(a);
  EXPECT_EQ(active(), static_cast<std::int64_t>(40 * kMiB));
  void* const b = used(60 * kMiB, 2);
  free(b);
  validate();
}

TEST_F(SharingTest, NoEdgeTouchesACapturingStream) {
  open_sharing();
  free(used(20 * kMiB, 1));
  ASSERT_EQ(machine_->begin_capture(0, work_->stream(1), driver::sim::CaptureMode::relaxed), driver::Result::ok);
  void* const a = allocate(20 * kMiB, work_->stream(2));
  work_->write(2, reinterpret_cast<std::uint64_t>(a), 20 * kMiB);
  driver::sim::Graph graph{};
  ASSERT_EQ(machine_->end_capture(0, work_->stream(1), graph), driver::Result::ok) << "the capture is intact";
  ASSERT_EQ(machine_->graph_destroy(graph), driver::Result::ok);
  free(a);
  validate();
}

TEST_F(SharingTest, MoreStreamsThanMembers) {
  open_sharing(256 * kMiB);
  std::vector<void*> blocks;
  for (std::int32_t stream = 0; stream < 12; stream++) blocks.push_back(used(10 * kMiB, stream));
  for (void* block : blocks) free(block);
  // Its own heap is found without the map lock: hits as ever.
  const std::int64_t misses = stats().misses;
  free(used(10 * kMiB, 11));
  EXPECT_EQ(stats().misses, misses);
  for (std::int32_t stream = 0; stream < 12; stream++) free(used(200 * kMiB, stream));
  validate();
}

TEST_F(SharingTest, ShortLivedStreamsLeaveTheGroup) {
  open_sharing(256 * kMiB);
  for (int i = 0; i < 100; i++) {
    void* const stream = make_stream();
    void* const a = allocate(100 * kMiB, stream);
    ASSERT_EQ(gapless_forget_stream(allocator, 0, stream), GAPLESS_OK);
    ASSERT_EQ(machine_->stream_destroy(0, stream), driver::Result::ok);
    free(a);
    ASSERT_EQ(machine_->device_synchronize(0), driver::Result::ok);
    EXPECT_LT(one_->state().streams.size(), 12u);
  }
  EXPECT_LE(reserved(), 102 * kMiB);
  validate();
}

// A heap that is used again, for a group, has a history from before it.
TEST_F(SharingTest, AHeapThatWasAnotherStreamsIsSharedInOrder) {
  open_sharing(64 * kMiB, config::Toggle::off);
  void* const a = used(60 * kMiB, 3);
  ASSERT_EQ(gapless_forget_stream(allocator, 0, work_->stream(3)), GAPLESS_OK);
  free(a);
  ASSERT_EQ(gapless_set_option(allocator, "stream_sharing", "on"), GAPLESS_OK);
  void* const b = used(2 * kMiB, 1);
  EXPECT_EQ(b, a) << "the heap is used again";
  void* const c = used(50 * kMiB, 2);
  EXPECT_EQ(stats().wait_edges, 2) << "stream 1 waits for stream 3, stream 2 for both";
  free(b);
  free(c);
  validate();
}

TEST_F(SharingTest, ItCanBeSwitchedAtAnyTime) {
  open_sharing(64 * kMiB, config::Toggle::off);
  void* const a = used(10 * kMiB, 1);
  void* const b = used(10 * kMiB, 2);
  ASSERT_EQ(gapless_set_option(allocator, "stream_sharing", "on"), GAPLESS_OK);
  void* const c = used(10 * kMiB, 1);
  free(a);
  free(b);
  void* const d = used(50 * kMiB, 2);
  ASSERT_EQ(gapless_set_option(allocator, "stream_sharing", "off"), GAPLESS_OK);
  void* const e = used(2 * kMiB, 1);
  free(c);
  free(d);
  free(e);
  free(used(60 * kMiB, 1));
  free(used(60 * kMiB, 2));
  validate();
}

// Two streams whose buffers do not fit beside each other, at the slack: they take each other's granules for ever.
TEST_F(SharingTest, AutoNoticesStreamsThatTakeEachOthersGranules) {
  open_sharing(1 * kGiB, config::Toggle::automatic);
  const auto round = [&] {
    for (std::int32_t stream = 1; stream <= 2; stream++) {
      std::vector<void*> blocks;
      for (int i = 0; i < 20; i++) blocks.push_back(used(10 * kMiB + static_cast<std::uint64_t>(i) * kMiB, stream));
      for (void* block : blocks) free(block);
    }
    ASSERT_EQ(machine_->device_synchronize(0), driver::Result::ok);
  };
  for (int i = 0; i < 80; i++) round();
  EXPECT_TRUE(one_->state().sharing);
  const std::uint64_t calls = faults_->memory_calls();
  for (int i = 0; i < 4; i++) round();
  EXPECT_EQ(faults_->memory_calls(), calls);
  validate();
}

// The uses that the table knows are numbered anew with the epochs; what was ordered is ordered again.
TEST_F(SharingTest, EpochsStartAgainForMembers) {
  open_sharing();
  free(used(40 * kMiB, 1));
  free(used(40 * kMiB, 2));
  for (const auto& stream : one_->state().streams)
    stream::StreamTestAccess::set_epoch(*stream, stream::StreamOrder::kRenumberAt - 3);
  void* const live = used(2 * kMiB, 1);
  void* const other = used(2 * kMiB, 2);
  for (int i = 0; i < 20; i++) {
    free(used(56 * kMiB, 1 + i % 2));
    free(used(20 * kMiB, 2 - i % 2));
  }
  for (const auto& stream : one_->state().streams) EXPECT_LT(stream->epoch(), 100u);
  EXPECT_GT(stats().wait_edges, 10) << "streams still hand memory over by waiting for each other";
  free(live);
  validate();
  free(used(58 * kMiB, 2));
  free(other);
  validate();
}

// Slots that a miss backs ahead of its block are the member's that backed them: others wait for it.
TEST_F(SharingTest, TheHoleAheadOfAMissIsTheMembersThatBackedIt) {
  config::Options options;
  options.stream_sharing = config::Toggle::on;
  options.slack = 1;
  driver::sim::Config config;
  config.completion = driver::sim::Completion::lazy;
  open(80 * kGiB, options, config);
  work_ = std::make_unique<DeviceWork>(*machine_, 12);
  free(used(4 * kMiB, 2));  // a member
  void* const a = used(64 * kMiB, 1);
  void* const wall = used(2 * kMiB, 1);
  void* const c = used(80 * kMiB, 1);
  void* const last = used(2 * kMiB, 1);
  free(a);
  void* const b = used(66 * kMiB, 1);  // at the end: the granules of a's place move there, and stay busy
  free(c);
  ASSERT_EQ(machine_->device_synchronize(0), driver::Result::ok);
  const std::uint64_t physical = machine_->physical_bytes(0);
  const std::uint64_t unmaps = faults_->calls(driver::Call::unmap);
  const std::uint64_t grants = faults_->calls(driver::Call::set_access);
  std::vector<void*> blocks;
  for (int i = 0; i < 14; i++) blocks.push_back(used(4 * kMiB, 1 + i % 2));
  EXPECT_LE(faults_->calls(driver::Call::unmap) - unmaps, 3u) << "of 28 granules";
  EXPECT_LE(faults_->calls(driver::Call::set_access) - grants, 3u);
  EXPECT_EQ(machine_->physical_bytes(0), physical) << "nothing is created ahead";
  validate();
  for (void* const block : blocks) free(block);
  for (void* const block : {wall, last, b}) free(block);
  validate();
}

TEST_F(SharingTest, AnOutOfMemoryOfAMemberIsAnEvent) {
  open_sharing();
  free(used(10 * kMiB, 1));
  free(used(10 * kMiB, 2));  // has no heap of its own
  std::vector<gapless_event> seen;
  gapless_listener listener = GAPLESS_STRUCT(gapless_listener);
  listener.user = &seen;
  listener.kinds = 1u << GAPLESS_EVENT_OOM;
  listener.on_event = [](void* user, const gapless_event* event) -> std::uint64_t {
    static_cast<std::vector<gapless_event>*>(user)->push_back(*event);
    return 0;
  };
  ASSERT_EQ(gapless_set_listener(allocator, &listener), GAPLESS_OK);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(100 * kMiB, out, work_->stream(2)), GAPLESS_ERROR_OUT_OF_MEMORY);
  ASSERT_EQ(gapless_set_listener(allocator, nullptr), GAPLESS_OK);
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].stream, work_->stream(2));
  EXPECT_EQ(seen[0].bytes, 100 * kMiB);
}

TEST_F(SharingTest, G1Members) {
  open_sharing();
  void* const a = used(10 * kMiB, 1);
  one_->state().group.hand_out(0);
  EXPECT_THROW(one_->validate(), base::BrokenInvariant);
  one_->state().group.take_back(0);
  one_->validate();
  free(a);
}

TEST_F(SharingTest, ThreadsOnTheirOwnStreams) {
  config::Options options;
  options.stream_sharing = config::Toggle::on;
  open(1 * kGiB, options);
  std::vector<void*> streams;
  for (int i = 0; i < 4; i++) streams.push_back(make_stream());
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < streams.size(); t++)
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      std::vector<void*> live;
      for (int i = 0; i < 1500; i++) {
        if (live.size() < 6 && random() % 5 < 3) {
          live.push_back(allocate(random() % (30 * kMiB) + 1, streams[t]));
        } else if (!live.empty()) {
          if (random() % 4 == 0) {
            EXPECT_EQ(gapless_record_stream(allocator, live.back(), streams[random() % streams.size()]), GAPLESS_OK);
          }
          free(live.back());
          live.pop_back();
        }
        if (t == 0 && i % 300 == 0) {
          EXPECT_EQ(gapless_set_option(allocator, "stream_sharing", i % 600 == 0 ? "off" : "on"), GAPLESS_OK);
          static_cast<void>(stats());
        }
      }
      for (void* block : live) free(block);
    });
  for (std::thread& thread : threads) thread.join();
  validate();
}

TEST(SharingSwitch, WantsTwoBusyWindowsInARow) {
  using policy::SharingSwitch;
  SharingSwitch two;
  policy::Traffic traffic;
  const auto window = [&](std::uint64_t crossings, std::uint64_t created) {
    traffic.allocations += SharingSwitch::kWindow;
    traffic.crossings += crossings;
    traffic.created += created;
    return two.observe(traffic);
  };
  EXPECT_FALSE(window(200, 300)) << "memory grows";
  EXPECT_FALSE(window(200, 0));
  EXPECT_FALSE(window(100, 0)) << "a memory larger by two in a hundred would do";
  EXPECT_FALSE(window(200, 0));
  EXPECT_TRUE(window(200, 199));
  EXPECT_TRUE(window(0, 0)) << "for good";
}

// A place of 5 MiB between live blocks that end in the middle of a granule takes two granules more; in the shared heap
// it takes three.
TEST_F(SharingTest, TheOwnHeapsPlacesAreTriedBeforeGivingUp) {
  open_sharing(16 * kMiB, config::Toggle::off);
  void* const low = allocate(3 * kMiB);
  void* const middle = allocate(5 * kMiB);
  void* const high = allocate(8 * kMiB);
  free(middle);
  ASSERT_EQ(gapless_set_option(allocator, "stream_sharing", "on"), GAPLESS_OK);
  std::size_t largest = 0;
  ASSERT_EQ(gapless_largest_available(allocator, 0, &largest), GAPLESS_OK);
  EXPECT_EQ(largest, 5 * kMiB);
  for (void* const block : {low, high, allocate(largest)}) free(block);
}

}  // namespace
}  // namespace gapless::engine

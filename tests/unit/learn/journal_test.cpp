// SPDX-License-Identifier: Apache-2.0
// What the engine writes down.
#include "engine/journal.hpp"

#include <new>
#include <thread>
#include <vector>

#include "../engine/fixture.hpp"

namespace gapless::engine {
namespace {

class JournalTest : public EngineTest {
 protected:
  bool is_written() {
    DeviceAllocator* device = nullptr;
    EXPECT_EQ(allocator->engine->device(0, device), Status::ok);
    return device->look_at_step([](const StepView&) {}) == Status::ok;
  }
};

struct Seen {
  std::vector<JournalEntry> lives;
  std::vector<PhaseMark> phases;
  StepView view{};
};

Seen look(gapless_allocator* allocator) {
  Seen seen;
  DeviceAllocator* device = nullptr;
  EXPECT_EQ(allocator->engine->device(0, device), Status::ok);
  EXPECT_EQ(device->look_at_step([&](const StepView& view) {
    seen.lives.assign(view.entries.begin(), view.entries.end());
    seen.phases.assign(view.phases.begin(), view.phases.end());
    seen.view = view;
  }),
            Status::ok);
  return seen;
}

TEST_F(JournalTest, EveryBlockHasOneLineFromBirthToDeath) {
  open();
  void* const before = allocate(3 * kMiB);
  ASSERT_EQ(gapless_mark_step(allocator, 0, "train", 4), GAPLESS_OK);
  void* const a = allocate(kMiB + 1);
  void* const b = allocate(512);
  free(a);
  ASSERT_EQ(gapless_mark_phase(allocator, 0, "backward"), GAPLESS_OK);
  free(before);
  const Seen seen = look(allocator);
  ASSERT_EQ(seen.lives.size(), 3u);
  EXPECT_EQ(seen.lives[0].units, units_of(kMiB + 1).count());
  EXPECT_EQ(seen.lives[0].birth, 0u);
  EXPECT_EQ(seen.lives[0].death, 2u);
  EXPECT_EQ(seen.lives[1].birth, 1u);
  EXPECT_EQ(seen.lives[1].death, JournalEntry::kAlive);
  EXPECT_EQ(seen.lives[2].birth, JournalEntry::kOlder);
  EXPECT_EQ(seen.lives[2].units, units_of(3 * kMiB).count());
  EXPECT_EQ(seen.lives[2].death, 3u);
  EXPECT_EQ(seen.view.events, 4u);
  EXPECT_EQ(seen.view.units, 4u);
  EXPECT_EQ(seen.view.live_at_start, 3 * kMiB);
  ASSERT_EQ(seen.phases.size(), 1u);
  EXPECT_EQ(seen.phases[0].time, 3u);
  EXPECT_STREQ(seen.phases[0].label, "backward");
  free(b);
}

TEST_F(JournalTest, LinesOfAnEarlierStepAreNotTakenForThisOnes) {
  open();
  ASSERT_EQ(gapless_mark_step(allocator, 0, "", 1), GAPLESS_OK);
  std::vector<void*> blocks;
  for (std::uint64_t i = 1; i < 50; i++) blocks.push_back(allocate(i * 5000));
  ASSERT_EQ(gapless_mark_step(allocator, 0, "", 1), GAPLESS_OK);
  void* const fresh = allocate(kMiB);
  for (void* const block : blocks) free(block);
  const Seen seen = look(allocator);
  ASSERT_EQ(seen.lives.size(), 50u);
  EXPECT_EQ(seen.lives[0].death, JournalEntry::kAlive);
  for (std::size_t i = 1; i < 50; i++) EXPECT_EQ(seen.lives[i].birth, JournalEntry::kOlder) << i;
  free(fresh);
}

// A plain model over random programs: misses, listeners, streams and splits on the way.
TEST_F(JournalTest, TheJournalAgreesWithTheCounters) {
  open(256 * kMiB);
  std::vector<void*> streams{nullptr, make_stream(), make_stream()};
  std::vector<void*> live;
  std::uint64_t random = 7;
  const auto next = [&] { return random = random * 6364136223846793005u + 1442695040888963407u, random >> 33; };
  for (int step = 0; step < 20; step++) {
    ASSERT_EQ(gapless_mark_step(allocator, 0, "", 1), GAPLESS_OK);
    for (int i = 0; i < 400; i++) {
      void* out = nullptr;
      if (next() % 2 == 0 &&
          try_allocate(next() % (next() % 10 == 0 ? 20 * kMiB : 60000) + 1, out, streams[next() % 3]) == GAPLESS_OK) {
        live.push_back(out);
      } else if (!live.empty()) {
        const std::size_t at = next() % live.size();
        if (next() % 8 == 0) {
          ASSERT_EQ(gapless_record_stream(allocator, live[at], streams[next() % 3]), GAPLESS_OK);
        }
        free(live[at]);
        live[at] = live.back();
        live.pop_back();
      }
    }
    const Seen seen = look(allocator);
    std::int64_t bytes = static_cast<std::int64_t>(seen.view.live_at_start);
    for (const JournalEntry& life : seen.lives) {
      if (life.birth != JournalEntry::kOlder) bytes += static_cast<std::int64_t>(Units(life.units).bytes());
      if (life.death != JournalEntry::kAlive) bytes -= static_cast<std::int64_t>(Units(life.units).bytes());
    }
    EXPECT_EQ(bytes, stats().allocated_bytes[GAPLESS_ALL].current) << step;
    EXPECT_EQ(seen.view.live_now, static_cast<std::uint64_t>(bytes));
  }
  for (void* const block : live) free(block);
}

TEST_F(JournalTest, AStepTooLongToWriteDownIsNotLearntFrom) {
  open();
  ASSERT_EQ(gapless_mark_step(allocator, 0, "", 1), GAPLESS_OK);
  for (std::uint32_t i = 0; i <= Journal::kMostEntries; i++) free(allocate(512));
  const Seen seen = look(allocator);
  EXPECT_EQ(seen.lives.size(), Journal::kMostEntries);
  EXPECT_FALSE(seen.view.whole);
  ASSERT_EQ(gapless_mark_step(allocator, 0, "", 1), GAPLESS_OK);
  gapless_forecast forecast = GAPLESS_STRUCT(gapless_forecast);
  EXPECT_EQ(gapless_forecast_step(allocator, 0, 1, &forecast), GAPLESS_ERROR_NOT_FOUND);
}

TEST_F(JournalTest, ItCanBeSwitchedOff) {
  config::Options options;
  options.learn = false;
  open(kGiB, options);
  ASSERT_EQ(gapless_mark_step(allocator, 0, "", 1), GAPLESS_OK);
  free(allocate(512));
  EXPECT_FALSE(is_written()) << "nothing is made for a journal that is off";
  ASSERT_EQ(gapless_set_option(allocator, "learn", "true"), GAPLESS_OK) << gapless_last_error();
  ASSERT_EQ(gapless_mark_step(allocator, 0, "", 1), GAPLESS_OK);
  EXPECT_TRUE(look(allocator).view.whole);
  ASSERT_EQ(gapless_set_option(allocator, "learn", "false"), GAPLESS_OK) << gapless_last_error();
  free(allocate(512));
  EXPECT_FALSE(is_written());
  ASSERT_EQ(gapless_set_option(allocator, "learn", "true"), GAPLESS_OK) << gapless_last_error();
  free(allocate(512));
  EXPECT_EQ(look(allocator).lives.size(), 1u);
  EXPECT_FALSE(look(allocator).view.whole) << "the step's beginning is missing";
  ASSERT_EQ(gapless_mark_step(allocator, 0, "", 1), GAPLESS_OK);
  EXPECT_TRUE(look(allocator).view.whole);
}

// A reader that has no memory left is asked again, and the marks know nothing of it.
TEST_F(JournalTest, AReaderWithoutMemoryFailsNoMark) {
  struct Poor final : StepReader {
    int asked = 0;
    void on_step(const StepView&) override {
      asked++;
      throw std::bad_alloc();
    }
  } poor;
  open();
  allocator->engine->set_step_reader(&poor);
  for (int i = 0; i < 4; i++) {
    EXPECT_EQ(gapless_mark_step(allocator, 0, "", 1), GAPLESS_OK);
    free(allocate(512));
  }
  EXPECT_EQ(poor.asked, 3);
  allocator->engine->set_step_reader(&allocator->learner);
}

TEST_F(JournalTest, ARestoredPoolIsWrittenDown) {
  open();
  const gapless_pool_id pool{3, 0};
  const gapless_pool_filter everything = [](void*, gapless_stream) -> std::int32_t { return 1; };
  ASSERT_EQ(gapless_pool_begin(allocator, 0, pool, everything, nullptr, nullptr), GAPLESS_OK);
  void* const kept = allocate(3 * kMiB);
  gapless_checkpoint* checkpoint = nullptr;
  ASSERT_EQ(gapless_pool_checkpoint(allocator, 0, pool, &checkpoint), GAPLESS_OK);
  ASSERT_EQ(gapless_mark_step(allocator, 0, "", 1), GAPLESS_OK);
  free(kept);
  static_cast<void>(allocate(5 * kMiB));
  const auto ignore = [](void*, void*) {};
  ASSERT_EQ(gapless_pool_restore(allocator, 0, checkpoint, nullptr, ignore, ignore), GAPLESS_OK);
  const Seen seen = look(allocator);
  ASSERT_EQ(seen.lives.size(), 3u);
  EXPECT_EQ(seen.lives[1].units, units_of(5 * kMiB).count());
  EXPECT_NE(seen.lives[1].death, JournalEntry::kAlive);
  EXPECT_EQ(seen.lives[2].units, units_of(3 * kMiB).count());
  EXPECT_EQ(seen.lives[2].death, JournalEntry::kAlive);
  gapless_checkpoint_destroy(checkpoint);
  ASSERT_EQ(gapless_pool_end(allocator, 0, pool), GAPLESS_OK);
  free(kept);
  ASSERT_EQ(gapless_pool_release(allocator, 0, pool), GAPLESS_OK);
}

TEST_F(JournalTest, ACorrectedMarkLeavesTheLastPeak) {
  open(64 * kMiB);
  ASSERT_EQ(gapless_mark_step(allocator, 0, "", 2), GAPLESS_OK);
  free(allocate(20 * kMiB));
  ASSERT_EQ(gapless_mark_step(allocator, 0, "", 3), GAPLESS_OK);
  ASSERT_EQ(gapless_mark_step(allocator, 0, "", 2), GAPLESS_OK);
  void* out = nullptr;
  ASSERT_EQ(try_allocate(kGiB, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  gapless_oom_record record = GAPLESS_STRUCT(gapless_oom_record);
  ASSERT_EQ(gapless_last_oom(allocator, 0, &record), GAPLESS_OK);
  EXPECT_EQ(record.last_good_step_peak_bytes, 20 * kMiB);
}

TEST_F(JournalTest, MarksFromManyThreads) {
  open();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++)
    threads.emplace_back([this] {
      for (int i = 0; i < 300; i++) {
        if (i % 3 == 0) {
          EXPECT_EQ(gapless_mark_step(allocator, 0, "t", 2), GAPLESS_OK);
        }
        free(allocate(70000));
      }
    });
  for (std::thread& thread : threads) thread.join();
}

// Streams that share a heap leave the hit path's first branch, not the journal.
TEST_F(JournalTest, BlocksOfASharedHeapAreWrittenDown) {
  config::Options options;
  options.stream_sharing = config::Toggle::on;
  open(80 * kGiB, options);
  void* const streams[] = {make_stream(), make_stream()};
  for (void* const stream : streams) free(allocate(10 * kMiB, stream));
  ASSERT_EQ(gapless_mark_step(allocator, 0, "train", 4), GAPLESS_OK);
  void* const a = allocate(4 * kMiB, streams[0]);
  void* const b = allocate(4 * kMiB, streams[1]);
  free(a);
  free(b);
  const Seen seen = look(allocator);
  ASSERT_EQ(seen.lives.size(), 2u);
  EXPECT_EQ(seen.lives[0].death, 2u);
  EXPECT_EQ(seen.lives[1].death, 3u);
  EXPECT_NE(seen.lives[0].stream(), seen.lives[1].stream());
}

}  // namespace
}  // namespace gapless::engine

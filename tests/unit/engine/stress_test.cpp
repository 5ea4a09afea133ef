// SPDX-License-Identifier: Apache-2.0
// Eight threads on eight streams with everything at once: blocks handed from thread to thread and used on other
// streams, captures, trims, memory that is short. GAPLESS_TEST_FULL: 20 seeds of 1,000,000 operations, 50,000 under a
// sanitizer.
#include <array>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t kFullLength = 50'000;
#else
constexpr std::uint64_t kFullLength = 1'000'000;
#endif

class StressTest : public EngineTest {
 protected:
  static constexpr std::size_t kThreads = 8;

  // What threads hand each other.
  struct Mailbox {
    std::mutex mutex;
    std::vector<void*> blocks;
  };

  // One thread's part of a run.
  class Worker {
   public:
    Worker(StressTest& test, std::size_t number, std::uint64_t seed)
        : test_(test), number_(number), random_(seed * kThreads + number) {}

    void run(std::uint64_t operations) {
      for (std::uint64_t i = 0; i < operations; i++) step();
      for (void* const block : live_) free(block);
    }
    std::uint64_t ooms() const { return ooms_; }

   private:
    void step() {
      const std::uint64_t choice = random_() % 1000;
      if (choice < 3) {
        capture();
      } else if (choice < 5) {
        trim();
      } else if (choice < 100) {
        hand_over();
      } else if (choice < 560 || live_.empty()) {
        if (void* const block = allocate(test_.streams_[number_])) live_.push_back(block);
      } else {
        free(take(live_));
      }
    }
    void* take(std::vector<void*>& from) {
      const std::size_t at = random_() % from.size();
      void* const block = from[at];
      from[at] = from.back();
      from.pop_back();
      return block;
    }
    void* allocate(void* stream) {
      const std::uint64_t size = random_() % 4 == 0 ? random_() % (24 * kMiB) + 1 : random_() % 200'000 + 1;
      void* out = nullptr;
      const gapless_status status = gapless_allocate(test_.allocator, 0, stream, size, &out);
      if (status == GAPLESS_OK) return out;
      EXPECT_EQ(status, GAPLESS_ERROR_OUT_OF_MEMORY) << gapless_last_error();
      ooms_++;
      if (!live_.empty()) free(take(live_));
      return nullptr;
    }
    void free(void* block) {
      if (random_() % 4 == 0) {
        EXPECT_EQ(gapless_record_stream(test_.allocator, block, test_.streams_[random_() % kThreads]), GAPLESS_OK);
      }
      EXPECT_EQ(gapless_deallocate(test_.allocator, block), GAPLESS_OK) << gapless_last_error();
    }
    // A block leaves, or one of another thread comes.
    void hand_over() {
      const std::lock_guard guard(test_.mailbox_.mutex);
      if (!live_.empty() && random_() % 2 == 0) {
        test_.mailbox_.blocks.push_back(take(live_));
      } else if (!test_.mailbox_.blocks.empty()) {
        live_.push_back(take(test_.mailbox_.blocks));
      }
    }
    void trim() {
      std::size_t released = 0;
      EXPECT_EQ(gapless_trim(test_.allocator, 0, {0, 0}, random_() % 2 * 64 * kMiB, &released), GAPLESS_OK)
          << gapless_last_error();
    }
    // A graph's life: captured into a pool of its own, blocks dying before and after its end.
    void capture() {
      const gapless_pool_id pool{1 + number_ + kThreads * ++graphs_, 0};
      void* const stream = test_.capture_streams_[number_];
      const gapless_pool_filter mine = [](void* wanted, gapless_stream asked) -> std::int32_t {
        return wanted == asked ? 1 : 0;
      };
      ASSERT_EQ(gapless_pool_begin(test_.allocator, 0, pool, mine, stream, nullptr), GAPLESS_OK);
      ASSERT_EQ(test_.machine_->begin_capture(0, stream, driver::sim::CaptureMode::relaxed), driver::Result::ok);
      std::vector<void*> captured;
      for (int i = 0; i < 6; i++) {
        if (void* const block = allocate(stream)) captured.push_back(block);
        if (i % 2 == 1 && !captured.empty()) {
          EXPECT_EQ(gapless_deallocate(test_.allocator, take(captured)), GAPLESS_OK);
        }
      }
      driver::sim::Graph graph = nullptr;
      EXPECT_EQ(test_.machine_->end_capture(0, stream, graph), driver::Result::ok);
      EXPECT_EQ(gapless_pool_end(test_.allocator, 0, pool), GAPLESS_OK);
      for (void* const block : captured) EXPECT_EQ(gapless_deallocate(test_.allocator, block), GAPLESS_OK);
      EXPECT_EQ(gapless_pool_release(test_.allocator, 0, pool), GAPLESS_OK) << gapless_last_error();
      EXPECT_EQ(test_.machine_->graph_destroy(graph), driver::Result::ok);
    }

    StressTest& test_;
    const std::size_t number_;
    std::mt19937_64 random_;
    std::vector<void*> live_;
    std::uint64_t graphs_ = 0;
    std::uint64_t ooms_ = 0;
  };

  void stress(std::uint64_t seed, std::uint64_t operations) {
    driver::sim::Config config;
    config.completion = driver::sim::Completion::random;
    config.seed = seed;
    open(320 * kMiB, {}, config);
    for (std::size_t i = 0; i < kThreads; i++) {
      streams_[i] = make_stream();
      capture_streams_[i] = make_stream();
    }
    std::vector<Worker> workers;
    for (std::size_t i = 0; i < kThreads; i++) workers.emplace_back(*this, i, seed);
    std::vector<std::thread> threads;
    for (Worker& worker : workers) threads.emplace_back([&] { worker.run(operations / kThreads); });
    for (std::thread& thread : threads) thread.join();
    std::uint64_t ooms = 0;
    for (const Worker& worker : workers) ooms += worker.ooms();
    EXPECT_GT(ooms, 0u) << "memory was never short";
    for (void* const block : mailbox_.blocks) free(block);
    mailbox_.blocks.clear();
    EXPECT_EQ(stats().allocation[GAPLESS_ALL].current, 0) << "seed " << seed;
    validate();
    TearDown();
    allocator = nullptr;
  }

  std::array<void*, kThreads> streams_{};
  std::array<void*, kThreads> capture_streams_{};
  Mailbox mailbox_;
};

TEST_F(StressTest, OneSeed) {
  stress(1, 16'000);
}

TEST_F(StressTest, TwentySeedsInFull) {
  if (std::getenv("GAPLESS_TEST_FULL") == nullptr) GTEST_SKIP() << "left to tests/run --full";
  for (std::uint64_t seed = 1; seed <= 20; ++seed) stress(seed, kFullLength);
}

}  // namespace
}  // namespace gapless::engine

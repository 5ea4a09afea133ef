// SPDX-License-Identifier: Apache-2.0
// Several threads. Run under the thread sanitizer too.
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

class ThreadsTest : public EngineTest {
 protected:
  // Random allocations and frees, at most `most` bytes live at a time in a thread.
  void churn(int threads, int operations, std::uint64_t most, std::atomic<int>& ooms, bool several_streams) {
    std::vector<void*> streams(static_cast<std::size_t>(threads), nullptr);
    if (several_streams)
      for (void*& stream : streams) stream = make_stream();
    std::vector<std::thread> running;
    for (int t = 0; t < threads; t++)
      running.emplace_back([&, t] {
        std::mt19937_64 random(static_cast<std::uint64_t>(t) + 1);
        std::vector<std::pair<void*, std::uint64_t>> live;
        std::uint64_t bytes = 0;
        for (int i = 0; i < operations; i++) {
          const std::uint64_t size = random() % 3 == 0 ? random() % (most / 3) + 1 : random() % 100000 + 1;
          if (bytes + size > most || (random() % 3 == 0 && !live.empty())) {
            const std::size_t at = random() % live.size();
            if (random() % 4 == 0) {
              EXPECT_EQ(gapless_record_stream(allocator, live[at].first, streams[random() % streams.size()]),
                        GAPLESS_OK);
            }
            EXPECT_EQ(gapless_deallocate(allocator, live[at].first), GAPLESS_OK);
            bytes -= live[at].second;
            live[at] = live.back();
            live.pop_back();
            continue;
          }
          void* out = nullptr;
          const gapless_status status =
              gapless_allocate(allocator, 0, streams[static_cast<std::size_t>(t)], size, &out);
          if (status == GAPLESS_OK) {
            live.emplace_back(out, size);
            bytes += size;
          } else {
            EXPECT_EQ(status, GAPLESS_ERROR_OUT_OF_MEMORY) << gapless_last_error();
            ooms++;
          }
          if (i % 500 == 0) {
            gapless_stats s = GAPLESS_STRUCT(gapless_stats);
            EXPECT_EQ(gapless_get_stats(allocator, 0, &s), GAPLESS_OK);
            std::size_t released = 0;
            if (t == 0) {
              EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 256 * kMiB, &released), GAPLESS_OK);
            }
          }
        }
        for (const auto& block : live) EXPECT_EQ(gapless_deallocate(allocator, block.first), GAPLESS_OK);
      });
    for (auto& thread : running) thread.join();
  }
};

TEST_F(ThreadsTest, OneStream) {
  open(4 * kGiB);
  std::atomic<int> ooms{0};
  churn(6, 3000, 300 * kMiB, ooms, false);
  EXPECT_EQ(ooms, 0);
  EXPECT_EQ(stats().allocation[GAPLESS_ALL].current, 0);
  validate();
}

TEST_F(ThreadsTest, SeveralStreamsAndScarceMemory) {
  driver::sim::Config config;
  config.completion = driver::sim::Completion::random;
  open(512 * kMiB, {}, config);
  std::atomic<int> ooms{0};
  churn(4, 2000, 200 * kMiB, ooms, true);
  validate();
}

}  // namespace
}  // namespace gapless::engine

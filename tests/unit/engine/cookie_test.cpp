// SPDX-License-Identifier: Apache-2.0
// Cookies, and the order of events.
#include <vector>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

struct Log {
  std::vector<gapless_event> events;
  std::vector<std::uint64_t> released;
  std::uint64_t next_cookie = 100;
  gapless_allocator* reenter = nullptr;
  static std::uint64_t on_event(void* user, const gapless_event* event) {
    Log& log = *static_cast<Log*>(user);
    log.events.push_back(*event);
    if (log.reenter != nullptr) {
      gapless_stats stats = GAPLESS_STRUCT(gapless_stats);
      EXPECT_EQ(gapless_get_stats(log.reenter, 0, &stats), GAPLESS_OK);
    }
    return event->kind == GAPLESS_EVENT_ALLOC ? log.next_cookie++ : 0;
  }
  static void release(void* user, std::uint64_t cookie) { static_cast<Log*>(user)->released.push_back(cookie); }
};

class CookieTest : public EngineTest {
 protected:
  void listen(std::uint32_t kinds) {
    gapless_listener listener = GAPLESS_STRUCT(gapless_listener);
    listener.user = &log;
    listener.kinds = kinds;
    listener.on_event = Log::on_event;
    listener.release_cookie = Log::release;
    ASSERT_EQ(gapless_set_listener(allocator, &listener), GAPLESS_OK);
  }
  Log log;
};

TEST_F(CookieTest, FollowTheirBlock) {
  open();
  listen(~0u);
  log.reenter = allocator;
  void* const a = allocate(3 * kMiB);
  gapless_block_info info = GAPLESS_STRUCT(gapless_block_info);
  ASSERT_EQ(gapless_block_of(allocator, a, &info), GAPLESS_OK);
  EXPECT_EQ(info.cookie, 100u);
  ASSERT_EQ(gapless_set_cookie(allocator, a, 7), GAPLESS_OK);
  EXPECT_EQ(log.released, std::vector<std::uint64_t>{100});
  free(a);
  EXPECT_EQ(log.released, (std::vector<std::uint64_t>{100, 7}));
  EXPECT_EQ(gapless_set_cookie(allocator, a, 7), GAPLESS_ERROR_UNKNOWN_POINTER);
  std::vector<gapless_event_kind> kinds;
  for (const gapless_event& event : log.events) kinds.push_back(event.kind);
  EXPECT_EQ(kinds, (std::vector<gapless_event_kind>{GAPLESS_EVENT_SEGMENT_MAP, GAPLESS_EVENT_ALLOC,
                                                    GAPLESS_EVENT_FREE_REQUESTED, GAPLESS_EVENT_FREE_COMPLETED}));
  for (std::size_t i = 0; i < log.events.size(); i++) EXPECT_EQ(log.events[i].sequence, i + 1);
  EXPECT_EQ(log.events[2].cookie, 7u);
}

TEST_F(CookieTest, OnlyWantedKindsAreSeenAndNoneAfterRemoval) {
  open();
  listen(1u << GAPLESS_EVENT_FREE_REQUESTED);
  free(allocate(100));
  ASSERT_EQ(log.events.size(), 1u);
  EXPECT_EQ(log.events[0].bytes, 512u);
  ASSERT_EQ(gapless_set_listener(allocator, nullptr), GAPLESS_OK);
  free(allocate(100));
  EXPECT_EQ(log.events.size(), 1u);
}

TEST_F(CookieTest, OutOfMemoryAndUnmapAreEvents) {
  open(64 * kMiB);
  free(allocate(10 * kMiB));
  listen(1u << GAPLESS_EVENT_OOM | 1u << GAPLESS_EVENT_SEGMENT_UNMAP);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(100 * kMiB, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  ASSERT_EQ(log.events.size(), 1u);
  EXPECT_EQ(log.events[0].kind, GAPLESS_EVENT_OOM);
  EXPECT_EQ(log.events[0].bytes, 100 * kMiB);
  std::size_t released = 0;
  ASSERT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_OK);
  EXPECT_EQ(log.events.size(), 1u + 5u);
}

}  // namespace
}  // namespace gapless::engine

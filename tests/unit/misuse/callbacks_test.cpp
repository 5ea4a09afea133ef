// SPDX-License-Identifier: Apache-2.0
// Callbacks that call back, and hooks that lie.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <future>
#include <thread>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

using namespace std::chrono_literals;

class CallbacksTest : public EngineTest {
 protected:
  // A deadlock ends the program here, with its name, instead of at CTest's limit.
  template <typename Call>
  static void within(std::chrono::seconds limit, Call call) {
    std::promise<void> done;
    std::thread watchdog([&, over = done.get_future()] {
      if (over.wait_for(limit) == std::future_status::timeout) {
        std::fputs("deadlock\n", stderr);
        std::_Exit(1);
      }
    });
    call();
    done.set_value();
    watchdog.join();
  }
};

// How many of some children never came back from the call.
template <typename Call>
[[maybe_unused]] int stuck_children(Call call) {
  int stuck = 0;
  for (int i = 0; i < 100 && stuck == 0; i++) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(10);
      call();
      _exit(0);
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    stuck += status != 0;
  }
  return stuck;
}

struct Meeting {
  gapless_allocator* allocator = nullptr;
  std::atomic<int> inside{0};
  std::atomic<bool> go{false};
  int wanted = 1;
  std::uint64_t (*then)(Meeting&) = nullptr;
};

std::uint64_t meet(void* user, const gapless_event*) {
  Meeting& meeting = *static_cast<Meeting*>(user);
  if (meeting.inside.fetch_add(1) >= meeting.wanted) return 0;
  while (!meeting.go) std::this_thread::yield();
  return meeting.then(meeting);
}

// The listener asks for an option (or uses a device for the first time) while another thread waits for it to end.
TEST_F(CallbacksTest, TheListenerCallsBackWhileItIsRemoved) {
  open();
  Meeting meeting;
  meeting.allocator = allocator;
  meeting.then = [](Meeting& m) -> std::uint64_t {
    std::this_thread::sleep_for(100ms);  // the other thread is in gapless_set_listener by now
    char text[64];
    static_cast<void>(gapless_get_option(m.allocator, "slack", text, sizeof text));
    return 0;
  };
  gapless_listener listener = GAPLESS_STRUCT(gapless_listener);
  listener.user = &meeting;
  listener.kinds = ~0u;
  listener.on_event = meet;
  ASSERT_EQ(gapless_set_listener(allocator, &listener), GAPLESS_OK);
  within(20s, [&] {
    std::thread other([&] { free(allocate(4096)); });
    while (meeting.inside == 0) std::this_thread::yield();
    meeting.go = true;
    EXPECT_EQ(gapless_set_listener(allocator, nullptr), GAPLESS_OK);
    other.join();
  });
}

// Two threads whose listener calls remove it: neither may wait for the other.
TEST_F(CallbacksTest, TwoCallsOfTheListenerRemoveIt) {
  open();
  Meeting meeting;
  meeting.allocator = allocator;
  meeting.wanted = 2;
  meeting.then = [](Meeting& m) -> std::uint64_t {
    EXPECT_EQ(gapless_set_listener(m.allocator, nullptr), GAPLESS_OK);
    return 0;
  };
  gapless_listener listener = GAPLESS_STRUCT(gapless_listener);
  listener.user = &meeting;
  listener.kinds = 1u << GAPLESS_EVENT_ALLOC;
  listener.on_event = meet;
  ASSERT_EQ(gapless_set_listener(allocator, &listener), GAPLESS_OK);
  within(20s, [&] {
    std::thread a([&] { free(allocate(4096)); });
    std::thread b([&] { free(allocate(4096)); });
    while (meeting.inside < 2) std::this_thread::yield();
    meeting.go = true;
    a.join();
    b.join();
  });
}

std::uint64_t quiet(void* user, const gapless_event*) {
  static_cast<std::atomic<int>*>(user)->fetch_add(1);
  return 0;
}

TEST_F(CallbacksTest, ListenersAreExchangedUnderTraffic) {
  open();
  std::atomic<int> events[2] = {0, 0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; t++)
    threads.emplace_back([&] {
      while (!stop) free(allocate(4096));
    });
  for (int t = 0; t < 2; t++)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; i++) {
        gapless_listener listener = GAPLESS_STRUCT(gapless_listener);
        listener.user = &events[t];
        listener.kinds = ~0u;
        listener.on_event = quiet;
        EXPECT_EQ(gapless_set_listener(allocator, i % 3 == 2 ? nullptr : &listener), GAPLESS_OK);
      }
    });
  threads[2].join();
  threads[3].join();
  EXPECT_EQ(gapless_set_listener(allocator, nullptr), GAPLESS_OK);
  stop = true;
  threads[0].join();
  threads[1].join();
  validate();
}

#if !defined(__SANITIZE_THREAD__)
// The thread that was in the listener does not exist in the child: waiting for it there would never end.
TEST_F(CallbacksTest, AChildForkedDuringADeliveryRemovesTheListener) {
  open();
  Meeting meeting;
  meeting.then = [](Meeting&) -> std::uint64_t { return 0; };
  gapless_listener listener = GAPLESS_STRUCT(gapless_listener);
  listener.user = &meeting;
  listener.kinds = ~0u;
  listener.on_event = meet;
  ASSERT_EQ(gapless_set_listener(allocator, &listener), GAPLESS_OK);
  std::thread other([&] { free(allocate(4096)); });
  while (meeting.inside == 0) std::this_thread::yield();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);
    _exit(gapless_set_listener(allocator, nullptr) == GAPLESS_OK ? 0 : 1);
  }
  meeting.go = true;
  other.join();
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(gapless_set_listener(allocator, nullptr), GAPLESS_OK);
}

// Locks that are no device's: a thread that holds one at the fork does not exist in the child.
TEST_F(CallbacksTest, AChildFindsTheScopesLockFree) {
  open();
  std::atomic<bool> stop{false};
  const auto filter = [](void*, gapless_stream) { return 0; };
  std::thread busy([&] {
    while (!stop) {
      EXPECT_EQ(gapless_pool_begin(allocator, 0, {0, 5}, filter, nullptr, nullptr), GAPLESS_OK);
      EXPECT_EQ(gapless_pool_end(allocator, 0, {0, 5}), GAPLESS_OK);
      EXPECT_EQ(gapless_pool_release(allocator, 0, {0, 5}), GAPLESS_OK);
    }
  });
  EXPECT_EQ(stuck_children([&] { static_cast<void>(gapless_pool_end(allocator, 0, {0, 6})); }), 0);
  stop = true;
  busy.join();
}

TEST_F(CallbacksTest, AChildFindsTheHooksLockFree) {
  open();
  std::atomic<bool> stop{false};
  const auto hook = [](void*, const gapless_oom_record*) { return GAPLESS_OOM_GIVE_UP; };
  std::thread busy([&] {
    while (!stop) {
      EXPECT_EQ(gapless_add_oom_hook(allocator, hook, nullptr), GAPLESS_OK);
      EXPECT_EQ(gapless_remove_oom_hook(allocator, hook, nullptr), GAPLESS_OK);
    }
  });
  EXPECT_EQ(stuck_children([&] { static_cast<void>(gapless_add_oom_hook(allocator, hook, &stop)); }), 0);
  stop = true;
  busy.join();
}

// Freeing an address that is nobody's searches the list of segments, under its lock.
TEST_F(CallbacksTest, AChildFindsTheAddressMapsLockFree) {
  open();
  gapless_segment_source source = GAPLESS_STRUCT(gapless_segment_source);
  source.allocate = [](void*, int32_t, gapless_stream, std::size_t) { return reinterpret_cast<void*>(1ull << 44); };
  ASSERT_EQ(gapless_pool_create(allocator, 0, {0, 5}, &source), GAPLESS_OK);
  ASSERT_EQ(gapless_pool_begin(
                allocator, 0, {0, 5}, [](void*, gapless_stream) { return 1; }, nullptr, nullptr),
            GAPLESS_OK);
  void* const block = allocate(4096);
  ASSERT_EQ(gapless_pool_end(allocator, 0, {0, 5}), GAPLESS_OK);
  std::atomic<bool> stop{false};
  void* const nobodys = reinterpret_cast<void*>(1ull << 43);
  std::thread busy([&] {
    while (!stop) EXPECT_EQ(gapless_deallocate(allocator, nobodys), GAPLESS_ERROR_UNKNOWN_POINTER);
  });
  EXPECT_EQ(stuck_children([&] { static_cast<void>(gapless_deallocate(allocator, nobodys)); }), 0);
  stop = true;
  busy.join();
  free(block);
  EXPECT_EQ(gapless_pool_release(allocator, 0, {0, 5}), GAPLESS_OK);
  EXPECT_EQ(gapless_pool_release(allocator, 0, {0, 5}), GAPLESS_OK);
}
#endif

// gapless.h asks callbacks not to throw. One that does costs its own request, no other.
TEST_F(CallbacksTest, AHookThatThrowsIsAskedAgainNextTime) {
  open(64 * kMiB);
  static int asked;
  asked = 0;
  const gapless_oom_hook hook = [](void*, const gapless_oom_record*) -> gapless_oom_answer {
    if (++asked == 1) throw 1;
    return GAPLESS_OOM_GIVE_UP;
  };
  ASSERT_EQ(gapless_add_oom_hook(allocator, hook, nullptr), GAPLESS_OK);
  void* out = nullptr;
  EXPECT_NE(try_allocate(65 * kMiB, out), GAPLESS_OK);
  EXPECT_EQ(try_allocate(65 * kMiB, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(gapless_remove_oom_hook(allocator, hook, nullptr), GAPLESS_OK);
  free(allocate(10 * kMiB));
  validate();
}

struct Liar {
  gapless_allocator* allocator;
  int asked = 0;
  void* held = nullptr;
};

TEST_F(CallbacksTest, HooksThatLieEnd) {
  open(64 * kMiB);
  Liar liar{allocator};
  const auto lie = [](void* user, const gapless_oom_record*) {
    Liar& me = *static_cast<Liar*>(user);
    me.asked++;
    void* out = nullptr;
    // Nested: it fails at once and asks nobody.
    EXPECT_EQ(gapless_allocate(me.allocator, 0, nullptr, 60 * kMiB, &out), GAPLESS_ERROR_OUT_OF_MEMORY);
    EXPECT_EQ(gapless_trim(me.allocator, 0, {0, 0}, 0, nullptr), GAPLESS_OK);
    return GAPLESS_OOM_TRY_AGAIN;
  };
  liar.held = allocate(10 * kMiB);
  ASSERT_EQ(gapless_add_oom_hook(allocator, lie, &liar), GAPLESS_OK);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(60 * kMiB, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_GE(liar.asked, 1);
  EXPECT_LE(liar.asked, 64);
  // A hook that removes itself, and is still asked once more by nobody.
  ASSERT_EQ(gapless_remove_oom_hook(allocator, lie, &liar), GAPLESS_OK);
  const int before = liar.asked;
  EXPECT_EQ(try_allocate(60 * kMiB, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(liar.asked, before);
  free(liar.held);
  validate();
}

}  // namespace
}  // namespace gapless::engine

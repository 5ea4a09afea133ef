// SPDX-License-Identifier: Apache-2.0
// Callbacks that call back, and callbacks that go away while they are called.
#include <atomic>
#include <chrono>
#include <thread>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

class CallbacksTest : public EngineTest {};

// Holds the calling thread inside a callback until the test lets it go on.
struct Gate {
  std::atomic<bool> entered{false};
  std::atomic<bool> open{false};
  void pass() {
    entered = true;
    while (!open) std::this_thread::yield();
  }
  void await_entry() const {
    while (!entered) std::this_thread::yield();
  }
};

gapless_listener listener_of(void* user, std::uint64_t (*on_event)(void*, const gapless_event*)) {
  gapless_listener listener = GAPLESS_STRUCT(gapless_listener);
  listener.user = user;
  listener.kinds = 1u << GAPLESS_EVENT_ALLOC;
  listener.on_event = on_event;
  return listener;
}

TEST_F(CallbacksTest, AListenerMayUseOptionsWhileItIsBeingRemoved) {
  open();
  struct Context {
    gapless_allocator* allocator;
    Gate gate;
    char value[64];
  } context{allocator, {}, {}};
  const gapless_listener listener = listener_of(&context, [](void* user, const gapless_event*) -> std::uint64_t {
    auto& mine = *static_cast<Context*>(user);
    mine.gate.pass();
    EXPECT_EQ(gapless_get_option(mine.allocator, "slack", mine.value, sizeof mine.value), GAPLESS_OK);
    return 0;
  });
  ASSERT_EQ(gapless_set_listener(allocator, &listener), GAPLESS_OK);
  void* block = nullptr;
  std::thread allocating([&] { block = allocate(kMiB); });
  context.gate.await_entry();
  std::atomic<bool> removed{false};
  std::thread removing([&] {
    EXPECT_EQ(gapless_set_listener(allocator, nullptr), GAPLESS_OK);
    removed = true;
  });
  EXPECT_FALSE(removed);
  context.gate.open = true;
  allocating.join();
  removing.join();
  free(block);
}

TEST_F(CallbacksTest, AListenerMayReplaceItself) {
  open();
  struct Context {
    gapless_allocator* allocator;
    int calls = 0;
  } context{allocator};
  const gapless_listener listener = listener_of(&context, [](void* user, const gapless_event*) -> std::uint64_t {
    auto& mine = *static_cast<Context*>(user);
    mine.calls++;
    EXPECT_EQ(gapless_set_listener(mine.allocator, nullptr), GAPLESS_OK);
    return 0;
  });
  ASSERT_EQ(gapless_set_listener(allocator, &listener), GAPLESS_OK);
  free(allocate(kMiB));
  free(allocate(kMiB));
  EXPECT_EQ(context.calls, 1);
}

TEST_F(CallbacksTest, RemovingAHookWaitsForItsCall) {
  open(16 * kMiB);
  Gate gate;
  const gapless_oom_hook hook = [](void* user, const gapless_oom_record*) {
    static_cast<Gate*>(user)->pass();
    return GAPLESS_OOM_GIVE_UP;
  };
  ASSERT_EQ(gapless_add_oom_hook(allocator, hook, &gate), GAPLESS_OK);
  std::thread failing([&] {
    void* block = nullptr;
    EXPECT_EQ(gapless_allocate(allocator, 0, nullptr, kGiB, &block), GAPLESS_ERROR_OUT_OF_MEMORY);
  });
  gate.await_entry();
  std::atomic<bool> removed{false};
  std::thread removing([&] {
    EXPECT_EQ(gapless_remove_oom_hook(allocator, hook, &gate), GAPLESS_OK);
    removed = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(removed);
  gate.open = true;
  failing.join();
  removing.join();
}

TEST_F(CallbacksTest, AHookMayRemoveItself) {
  open(16 * kMiB);
  struct Context {
    gapless_allocator* allocator;
    gapless_oom_hook hook;
  } context{allocator, nullptr};
  context.hook = [](void* user, const gapless_oom_record*) {
    const auto& mine = *static_cast<Context*>(user);
    EXPECT_EQ(gapless_remove_oom_hook(mine.allocator, mine.hook, user), GAPLESS_OK);
    return GAPLESS_OOM_GIVE_UP;
  };
  ASSERT_EQ(gapless_add_oom_hook(allocator, context.hook, &context), GAPLESS_OK);
  void* block = nullptr;
  EXPECT_EQ(gapless_allocate(allocator, 0, nullptr, kGiB, &block), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(gapless_remove_oom_hook(allocator, context.hook, &context), GAPLESS_ERROR_NOT_FOUND);
}

}  // namespace
}  // namespace gapless::engine

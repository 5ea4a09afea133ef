// SPDX-License-Identifier: Apache-2.0
// What a hit may cost, as device_allocator.hpp promises.
#include <malloc.h>

#include <cstdlib>
#include <new>
#include <vector>

#include "fixture.hpp"

namespace {
thread_local std::uint64_t host_allocations = 0;
}

// What mallinfo does not show is memory that was given back at once.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  host_allocations++;
  return std::malloc(bytes);
}
void* operator new(std::size_t bytes) {
  void* const out = operator new(bytes, std::nothrow);
  if (out == nullptr) throw std::bad_alloc();
  return out;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace gapless::engine {
namespace {

using HotPath = EngineTest;

TEST_F(HotPath, AHitMakesNoDriverCallAndNoHostAllocation) {
  open();
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
  for (int i = 0; i < 4; i++) round();
  const gapless_stats before = stats();
  const std::uint64_t calls = faults_->memory_calls();
  const std::uint64_t events = faults_->calls(driver::Call::event_record) + faults_->calls(driver::Call::event_query) +
                               faults_->calls(driver::Call::capture_info);
  const struct mallinfo2 host = mallinfo2();
  const std::uint64_t made = host_allocations;
  for (int i = 0; i < 50; i++) round();
  const struct mallinfo2 host_after = mallinfo2();
  EXPECT_EQ(host_after.uordblks, host.uordblks);
  EXPECT_EQ(host_allocations, made);
  EXPECT_EQ(faults_->memory_calls(), calls);
  EXPECT_EQ(faults_->calls(driver::Call::event_record) + faults_->calls(driver::Call::event_query) +
                faults_->calls(driver::Call::capture_info),
            events);
  EXPECT_EQ(stats().misses, before.misses);
  EXPECT_EQ(stats().hits - before.hits, static_cast<std::int64_t>(50 * sizes.size()));
}

// Events are noted under the fast lock: where they go has room from the last ones.
TEST_F(HotPath, AHitThatIsListenedToMakesNoHostAllocation) {
  open();
  gapless_listener listener = GAPLESS_STRUCT(gapless_listener);
  std::uint64_t events = 0;
  listener.user = &events;
  listener.kinds = ~0u;
  listener.on_event = [](void* user, const gapless_event*) -> std::uint64_t {
    ++*static_cast<std::uint64_t*>(user);
    return 0;
  };
  ASSERT_EQ(gapless_set_listener(allocator, &listener), GAPLESS_OK);
  const auto round = [&] {
    void* block = nullptr;
    if (gapless_allocate(allocator, 0, nullptr, 3 * kMiB, &block) != GAPLESS_OK) std::abort();
    if (gapless_deallocate(allocator, block) != GAPLESS_OK) std::abort();
  };
  for (int i = 0; i < 4; i++) round();
  const std::uint64_t noted = events;
  const std::uint64_t made = host_allocations;
  for (int i = 0; i < 50; i++) round();
  EXPECT_EQ(host_allocations, made);
  EXPECT_EQ(events - noted, 150u);
}

TEST_F(HotPath, ZeroBytesAndUnknownPointers) {
  open();
  void* out = &out;
  EXPECT_EQ(gapless_allocate(allocator, 0, nullptr, 0, &out), GAPLESS_OK);
  EXPECT_EQ(out, nullptr);
  EXPECT_EQ(gapless_deallocate(allocator, nullptr), GAPLESS_OK);
  int here = 0;
  EXPECT_EQ(gapless_deallocate(allocator, &here), GAPLESS_ERROR_UNKNOWN_POINTER);
  void* const block = allocate(10000);
  EXPECT_EQ(gapless_deallocate(allocator, static_cast<char*>(block) + 512), GAPLESS_ERROR_UNKNOWN_POINTER);
  EXPECT_EQ(gapless_deallocate(allocator, static_cast<char*>(block) + 1), GAPLESS_ERROR_UNKNOWN_POINTER);
  free(block);
  EXPECT_EQ(gapless_deallocate(allocator, block), GAPLESS_ERROR_UNKNOWN_POINTER) << "freed twice";
  EXPECT_EQ(gapless_allocate(allocator, 1, nullptr, 1, &out), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gapless_allocate(allocator, -1, nullptr, 1, &out), GAPLESS_ERROR_INVALID_ARGUMENT);
}

TEST_F(HotPath, RequestsBeyondAllBoundsFailAndChangeNothing) {
  open();
  void* const block = allocate(kMiB);
  const std::uint64_t before = reserved();
  void* out = nullptr;
  for (const std::uint64_t bytes : {~std::uint64_t{0}, std::uint64_t{1} << 63, std::uint64_t{1} << 41, 81 * kGiB})
    EXPECT_EQ(try_allocate(bytes, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(reserved(), before);
  free(block);
}

}  // namespace
}  // namespace gapless::engine

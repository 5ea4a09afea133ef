// SPDX-License-Identifier: Apache-2.0
// Out of memory: the record, the hooks, and that nothing has changed afterwards.
#include <cstring>
#include <vector>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

using OomTest = EngineTest;

TEST_F(OomTest, TheRecordSaysWhatIsThere) {
  open(64 * kMiB);
  ASSERT_EQ(gapless_mark_step(allocator, 0, "train", 16), GAPLESS_OK);
  ASSERT_EQ(gapless_mark_phase(allocator, 0, "forward"), GAPLESS_OK);
  void* const a = allocate(40 * kMiB);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(30 * kMiB, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(out, nullptr);
  gapless_oom_record record = GAPLESS_STRUCT(gapless_oom_record);
  ASSERT_EQ(gapless_last_oom(allocator, 0, &record), GAPLESS_OK);
  EXPECT_EQ(record.sequence, 1u);
  EXPECT_EQ(record.verdict, GAPLESS_OOM_IN_USE);
  EXPECT_EQ(record.requested_bytes, 30 * kMiB);
  EXPECT_EQ(record.live_bytes, 40 * kMiB);
  EXPECT_EQ(record.reserved_bytes, 40 * kMiB);
  EXPECT_EQ(record.largest_obtainable_bytes, 24 * kMiB);
  EXPECT_EQ(record.driver_total_bytes, 64 * kMiB);
  EXPECT_STREQ(record.step_label, "train");
  EXPECT_STREQ(record.phase_label, "forward");
  EXPECT_EQ(record.step, 1u);
  EXPECT_EQ(record.step_units, 16u);
  EXPECT_EQ(record.allocation_index, 1u);
  EXPECT_EQ(stats().num_ooms, 1);
  void* const rest = allocate(record.largest_obtainable_bytes);
  free(rest);
  free(a);
  validate();
}

TEST_F(OomTest, OtherProcessesAreNamed) {
  driver::sim::Config config;
  config.other = 48 * kMiB;
  open(64 * kMiB, {}, config);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(30 * kMiB, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  gapless_oom_record record = GAPLESS_STRUCT(gapless_oom_record);
  ASSERT_EQ(gapless_last_oom(allocator, 0, &record), GAPLESS_OK);
  EXPECT_EQ(record.verdict, GAPLESS_OOM_OTHER_PROCESS);
  EXPECT_EQ(record.other_process_bytes, 48 * kMiB);
}

TEST_F(OomTest, ARequestLargerThanTheDeviceIsNamedAsItWas) {
  open(64 * kMiB);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(SIZE_MAX, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_NE(std::strstr(gapless_last_error(), "17179869184.00 GiB wanted"), nullptr) << gapless_last_error();
  EXPECT_NE(std::strstr(gapless_last_error(), "the device is smaller"), nullptr) << gapless_last_error();
}

struct Hook {
  gapless_allocator* allocator;
  void* victim;
  int calls = 0;
  gapless_status inner = GAPLESS_OK;
  bool lie = false;
};
gapless_oom_answer free_victim(void* user, const gapless_oom_record* record) {
  Hook& hook = *static_cast<Hook*>(user);
  hook.calls++;
  EXPECT_EQ(record->attempt, static_cast<std::uint32_t>(hook.calls) - 1);
  // A request of the hook itself fails at once.
  void* out = nullptr;
  hook.inner = gapless_allocate(hook.allocator, 0, nullptr, 60 * kMiB, &out);
  if (hook.lie) return GAPLESS_OOM_TRY_AGAIN;
  if (hook.victim == nullptr) return GAPLESS_OOM_GIVE_UP;
  EXPECT_EQ(gapless_deallocate(hook.allocator, hook.victim), GAPLESS_OK);
  hook.victim = nullptr;
  return GAPLESS_OOM_TRY_AGAIN;
}

TEST_F(OomTest, AHookThatFreesMemoryIsBelieved) {
  open(64 * kMiB);
  Hook hook{allocator, allocate(40 * kMiB)};
  ASSERT_EQ(gapless_add_oom_hook(allocator, free_victim, &hook), GAPLESS_OK);
  void* out = allocate(30 * kMiB);
  EXPECT_EQ(hook.calls, 1);
  EXPECT_EQ(hook.inner, GAPLESS_ERROR_OUT_OF_MEMORY);
  free(out);
  ASSERT_EQ(gapless_remove_oom_hook(allocator, free_victim, &hook), GAPLESS_OK);
  EXPECT_EQ(gapless_remove_oom_hook(allocator, free_victim, &hook), GAPLESS_ERROR_NOT_FOUND);
  EXPECT_EQ(try_allocate(70 * kMiB, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(hook.calls, 1);
}

TEST_F(OomTest, AHookThatLiesCannotSpin) {
  open(64 * kMiB);
  void* const a = allocate(40 * kMiB);
  Hook hook{allocator, nullptr};
  hook.lie = true;
  ASSERT_EQ(gapless_add_oom_hook(allocator, free_victim, &hook), GAPLESS_OK);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(30 * kMiB, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(hook.calls, 1);
  free(a);
}

TEST_F(OomTest, ThereIsNoRecordBeforeTheFirst) {
  open();
  gapless_oom_record record = GAPLESS_STRUCT(gapless_oom_record);
  EXPECT_EQ(gapless_last_oom(allocator, 0, &record), GAPLESS_ERROR_NOT_FOUND);
  gapless_forecast forecast = GAPLESS_STRUCT(gapless_forecast);
  EXPECT_EQ(gapless_forecast_step(allocator, 0, 1, &forecast), GAPLESS_ERROR_NOT_FOUND);
}

// The heap for large blocks has half a granule left: what fits there is small, and goes to the other heap.
TEST_F(OomTest, TheLargestAvailableCanBeHad) {
  open(8 * kMiB);
  std::vector<void*> blocks;
  for (const std::uint64_t bytes : {2 * kMiB, 2 * kMiB, 2 * kMiB, 3 * kMiB / 2}) blocks.push_back(allocate(bytes));
  std::size_t largest = 1;
  ASSERT_EQ(gapless_largest_available(allocator, 0, &largest), GAPLESS_OK);
  EXPECT_EQ(largest, 0u);
  free(blocks.back());
  blocks.pop_back();
  ASSERT_EQ(gapless_largest_available(allocator, 0, &largest), GAPLESS_OK);
  blocks.push_back(allocate(largest));
  for (void* const block : blocks) free(block);
}

}  // namespace
}  // namespace gapless::engine

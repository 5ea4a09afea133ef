// SPDX-License-Identifier: Apache-2.0
// The option inject_oom.
#include <vector>

#include "../engine/fixture.hpp"

namespace gapless::engine {
namespace {

class Injection : public EngineTest {
 protected:
  void inject(const char* what) {
    ASSERT_EQ(gapless_set_option(allocator, "inject_oom", what), GAPLESS_OK) << gapless_last_error();
  }
  // The numbers, from 1, of those of `count` allocations that fail.
  std::vector<int> failures(int count, std::uint64_t bytes = 4096) {
    std::vector<int> failed;
    for (int i = 1; i <= count; i++) {
      void* out = nullptr;
      if (try_allocate(bytes, out) != GAPLESS_OK) failed.push_back(i);
      if (out != nullptr) free(out);
    }
    return failed;
  }
  gapless_oom_record last() {
    gapless_oom_record record = GAPLESS_STRUCT(gapless_oom_record);
    EXPECT_EQ(gapless_last_oom(allocator, 0, &record), GAPLESS_OK);
    return record;
  }
};

TEST_F(Injection, TheNthAllocationFailsOnceAndNothingChanges) {
  open();
  inject("5");
  EXPECT_EQ(failures(20), std::vector<int>{5});
  EXPECT_EQ(last().verdict, GAPLESS_OOM_INJECTED);
  EXPECT_EQ(stats().num_ooms, 1);
  validate();
}

TEST_F(Injection, EveryAllocationOfAStepInTurn) {
  open();
  for (int n = 1; n <= 12; n++) {
    ASSERT_EQ(gapless_mark_step(allocator, 0, "", 0), GAPLESS_OK);
    inject(("[step:" + std::to_string(n) + ",allocation:" + std::to_string(n) + "]").c_str());
    EXPECT_EQ(failures(12), std::vector<int>{n});
    EXPECT_EQ(last().step, static_cast<std::uint64_t>(n));
    EXPECT_EQ(last().allocation_index, static_cast<std::uint64_t>(n) - 1);
  }
}

TEST_F(Injection, ConditionsMustAllHold) {
  open();
  inject("[phase:optimizer,bytes:1MiB,count:2]");
  EXPECT_TRUE(failures(3, 2 * kMiB).empty());
  ASSERT_EQ(gapless_mark_phase(allocator, 0, "optimizer"), GAPLESS_OK);
  EXPECT_TRUE(failures(3, 4096).empty());
  EXPECT_EQ(failures(5, 2 * kMiB), (std::vector<int>{1, 2}));
  inject("[rank:1,count:0]");
  EXPECT_TRUE(failures(3).empty());
  inject("[rank:0,count:0]");
  EXPECT_EQ(failures(3), (std::vector<int>{1, 2, 3}));
  inject("off");
  EXPECT_TRUE(failures(3).empty());
}

TEST_F(Injection, ASeedRepeatsItself) {
  open();
  inject("[random:0.1,seed:42,count:0]");
  const std::vector<int> once = failures(500);
  EXPECT_GT(once.size(), 25u);
  EXPECT_LT(once.size(), 100u);
  inject("off");
  inject("[random:0.1,seed:42,count:0]");
  EXPECT_EQ(failures(500), once);
}

TEST_F(Injection, AHookThatFreesMemoryHealsIt) {
  open(64 * kMiB);
  struct Victim {
    gapless_allocator* allocator;
    void* block;
  } victim{allocator, allocate(8 * kMiB)};
  const gapless_oom_hook hook = [](void* user, const gapless_oom_record* record) {
    EXPECT_EQ(record->verdict, GAPLESS_OOM_INJECTED);
    Victim& one = *static_cast<Victim*>(user);
    EXPECT_EQ(gapless_deallocate(one.allocator, one.block), GAPLESS_OK);
    return GAPLESS_OOM_TRY_AGAIN;
  };
  ASSERT_EQ(gapless_add_oom_hook(allocator, hook, &victim), GAPLESS_OK);
  inject("[count:1]");
  free(allocate(kMiB));
  EXPECT_EQ(stats().num_ooms, 0);
}

}  // namespace
}  // namespace gapless::engine

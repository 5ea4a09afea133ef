// SPDX-License-Identifier: Apache-2.0
// The rungs of a miss, one by one.
#include <map>
#include <vector>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

using LadderTest = EngineTest;

TEST_F(LadderTest, IdleGranulesMoveAndComeHomeForNothing) {
  open(64 * kMiB);
  void* const a = allocate(40 * kMiB);
  free(a);
  void* const small = allocate(512);  // lies in the other heap: a granule of a's place moves there or is created
  void* const b = allocate(60 * kMiB);
  EXPECT_EQ(machine_->physical_bytes(0), 62 * kMiB);
  free(b);
  free(small);
  validate();
  const std::uint64_t calls = faults_->memory_calls();
  void* const again = allocate(60 * kMiB);
  EXPECT_EQ(faults_->memory_calls(), calls) << "b's place is still mapped";
  free(again);
}

// Ten small blocks of 1 MiB, two a granule. The first two are freed and a large block takes their granule; then four
// more are freed. The next small block would go to the first hole, the smaller one, which is not backed any more.
class SmallHoles : public LadderTest {
 protected:
  void* fill(const config::Options& options) {
    open(64 * kMiB, options);
    for (int i = 0; i < 10; i++) small_.push_back(allocate(kMiB));
    free(small_[0]);
    free(small_[1]);
    large_ = allocate(2 * kMiB);
    EXPECT_EQ(stats().moves, 1);
    for (std::size_t i = 4; i < 8; i++) free(small_[i]);
    calls_ = faults_->memory_calls();
    return allocate(kMiB);
  }
  void empty(void* last) {
    free(last);
    free(large_);
    for (const unsigned i : {2U, 3U, 8U, 9U}) free(small_[i]);
    validate();
  }
  std::vector<void*> small_;
  void* large_ = nullptr;
  std::uint64_t calls_ = 0;
};

TEST_F(SmallHoles, ASmallBlockLeavesAPlaceThatIsNotBacked) {
  void* const last = fill({});
  EXPECT_EQ(last, small_[4]);
  EXPECT_EQ(faults_->memory_calls(), calls_);
  EXPECT_EQ(stats().moves, 1);
  empty(last);
}

TEST_F(SmallHoles, WithoutSteppingAsideItMovesAGranule) {
  config::Options options;
  options.step_aside = false;
  void* const last = fill(options);
  EXPECT_EQ(last, small_[0]);
  EXPECT_GT(faults_->memory_calls(), calls_);
  empty(last);
}

TEST_F(LadderTest, PhysicalMemoryStaysWithinTheSlackOfThePeak) {
  open();
  std::vector<void*> blocks;
  for (int i = 0; i < 100; i++) blocks.push_back(allocate(30 * kMiB));
  for (std::size_t i = 0; i < blocks.size(); i += 2) free(blocks[i]);
  // Larger than each hole: PyTorch would reserve another 1.4 GiB.
  void* const large = allocate(1400 * kMiB);
  EXPECT_LE(machine_->physical_bytes(0), static_cast<std::uint64_t>(3000.0 * 1.01 * static_cast<double>(kMiB)));
  EXPECT_GT(stats().moves, 0);
  free(large);
  for (std::size_t i = 1; i < blocks.size(); i += 2) free(blocks[i]);
  validate();
}

TEST_F(LadderTest, EverySizeUpToTheLastGranuleFits) {
  open(64 * kMiB);
  std::vector<void*> walls;
  for (int i = 0; i < 16; i++) walls.push_back(allocate(3 * kMiB));
  for (std::size_t i = 0; i < walls.size(); i += 2) free(walls[i]);
  std::size_t largest = 0;
  ASSERT_EQ(gapless_largest_available(allocator, 0, &largest), GAPLESS_OK);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(largest + 512, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  ASSERT_EQ(try_allocate(largest, out), GAPLESS_OK) << gapless_last_error();
  free(out);
  for (std::size_t i = 1; i < walls.size(); i += 2) free(walls[i]);
  validate();
}

TEST_F(LadderTest, TheLimitHoldsAndAppliesToTheFuture) {
  open();
  void* const a = allocate(50 * kMiB);
  ASSERT_EQ(gapless_set_limit(allocator, 0, 40 * kMiB), GAPLESS_OK);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(4 * kMiB, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  gapless_oom_record record = GAPLESS_STRUCT(gapless_oom_record);
  ASSERT_EQ(gapless_last_oom(allocator, 0, &record), GAPLESS_OK);
  EXPECT_EQ(record.verdict, GAPLESS_OOM_LIMIT);
  free(a);
  ASSERT_EQ(try_allocate(30 * kMiB, out), GAPLESS_OK) << "idle memory may be used";
  free(out);
  std::size_t limit = 0;
  ASSERT_EQ(gapless_get_limit(allocator, 0, &limit), GAPLESS_OK);
  EXPECT_EQ(limit, 40 * kMiB);
}

TEST_F(LadderTest, EagerUnmapLeavesNoDormantMapping) {
  config::Options options;
  options.eager_unmap = config::Toggle::on;
  open(64 * kMiB, options);
  for (int round = 0; round < 5; round++) {
    void* const a = allocate(30 * kMiB);
    void* const b = allocate(20 * kMiB);
    free(a);
    void* const c = allocate(40 * kMiB);
    EXPECT_EQ(stats().dormant_mappings, 0);
    free(b);
    free(c);
    validate();
  }
}

// The first mapping of a heap fails: nothing may be left, and the same request then works.
TEST_F(LadderTest, AfterEachFailedCallTheSameRequestWorks) {
  using driver::Call;
  for (const Call call : {Call::address_reserve, Call::create, Call::map, Call::set_access}) {
    open(64 * kMiB);
    faults_->add({.call = call, .error = driver::Result::unknown});
    void* out = nullptr;
    const gapless_status status = try_allocate(5 * kMiB, out);
    // A reservation is tried again with the least size before it counts as failed.
    EXPECT_EQ(status, call == Call::address_reserve ? GAPLESS_OK : GAPLESS_ERROR_DRIVER) << static_cast<int>(call);
    if (status != GAPLESS_OK) {
      EXPECT_NE(std::string(gapless_last_error()).find("CUDA_ERROR_UNKNOWN"), std::string::npos);
      EXPECT_EQ(gapless_last_driver_error(), 999);
      EXPECT_EQ(machine_->physical_bytes(0), 0u);
      validate();
      out = allocate(5 * kMiB);
    }
    validate();
    free(out);
    TearDown();
    allocator = nullptr;
  }
}

TEST_F(LadderTest, AHeapGrowsByAnotherReservation) {
  // 1 GiB reservations at most: the device is small, the logical space is not reused while the blocks live.
  open(kGiB);
  std::vector<void*> blocks;
  for (int i = 0; i < 200; i++) {
    blocks.push_back(allocate(4 * kMiB));
    if (i % 2 == 1) free(blocks[static_cast<std::size_t>(i) - 1]);
  }
  validate();
  void* out = nullptr;
  EXPECT_EQ(try_allocate(600 * kMiB, out), GAPLESS_OK) << gapless_last_error();
  free(out);
  for (std::size_t i = 1; i < blocks.size(); i += 2) free(blocks[i]);
  validate();
}

TEST_F(LadderTest, AHopelessRequestMakesNoHandles) {
  open(4 * kGiB);
  void* const kept = allocate(kGiB);
  const std::uint64_t before = faults_->calls(driver::Call::create);
  void* block = nullptr;
  EXPECT_EQ(try_allocate(8 * kGiB, block), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(try_allocate(4 * kGiB, block), GAPLESS_ERROR_OUT_OF_MEMORY);
  ASSERT_EQ(gapless_set_limit(allocator, 0, 2 * kGiB), GAPLESS_OK);
  EXPECT_EQ(try_allocate(2 * kGiB, block), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(faults_->calls(driver::Call::create), before);
  ASSERT_EQ(gapless_set_limit(allocator, 0, ~std::size_t{0}), GAPLESS_OK);
  EXPECT_EQ(try_allocate(3 * kGiB, block), GAPLESS_OK);
  free(block);
  free(kept);
}

// The hole that a large block left is carved from its front: what is moved for the first of the new blocks is followed
// by what the next ones need, in the same two calls.
TEST_F(LadderTest, AMissBacksTheHoleAheadOfItself) {
  config::Options options;
  options.slack = 1;
  open(80 * kGiB, options);
  void* const a = allocate(64 * kMiB);
  void* const wall = allocate(2 * kMiB);
  void* const c = allocate(80 * kMiB);
  void* const last = allocate(2 * kMiB);
  free(a);
  void* const b = allocate(66 * kMiB);  // at the end: the granules of a's place move there, and stay busy
  free(c);
  const std::uint64_t physical = machine_->physical_bytes(0);
  const std::uint64_t unmaps = faults_->calls(driver::Call::unmap);
  const std::uint64_t grants = faults_->calls(driver::Call::set_access);
  std::vector<void*> blocks;
  for (int i = 0; i < 14; i++) blocks.push_back(allocate(4 * kMiB));
  EXPECT_LE(faults_->calls(driver::Call::unmap) - unmaps, 2u) << "of 28 granules";
  EXPECT_LE(faults_->calls(driver::Call::set_access) - grants, 2u);
  EXPECT_EQ(machine_->physical_bytes(0), physical) << "nothing is created ahead";
  validate();
  for (void* const block : blocks) free(block);
  for (void* const block : {wall, last, b}) free(block);
  validate();
}

// cuMemUnmap fails when half of its range has gone: what is not certain to be mapped is not handed out again.
TEST_F(LadderTest, AnUnmapThatDidHalfItsRange) {
  config::Options options;
  options.slack = 1;
  open(80 * kGiB, options);
  void* const a = allocate(64 * kMiB);
  void* const wall = allocate(2 * kMiB);
  free(a);
  void* const b = allocate(66 * kMiB);
  void* const c = allocate(80 * kMiB);
  free(c);
  faults_->add({.call = driver::Call::unmap, .error = driver::Result::unknown, .partial_bytes = 8 * kMiB});
  void* out = nullptr;
  EXPECT_EQ(try_allocate(64 * kMiB, out), GAPLESS_ERROR_DRIVER);
  validate();
  ASSERT_EQ(try_allocate(64 * kMiB, out), GAPLESS_OK) << gapless_last_error();
  // Every byte of it is there.
  for (std::uint64_t at = 0; at < 64 * kMiB; at += kGranule) {
    driver::sim::Machine::Permission permission{};
    EXPECT_EQ(machine_->get_access(reinterpret_cast<std::uint64_t>(out) + at, 0, permission), driver::Result::ok) << at;
    EXPECT_EQ(permission, driver::sim::Machine::Permission::read_write) << at;
  }
  free(out);
  free(wall);
  free(b);
  validate();
  EXPECT_EQ(machine_->violation_count(), 0u) << machine_->violations()[0].text;
  ASSERT_EQ(gapless_close(allocator), GAPLESS_OK);
  allocator = nullptr;
}

// The block takes granules from the places right behind it and would reach ahead into just those: were they unmapped
// there, a miss that then fails could not give them back. Found by random programs and made small.
TEST_F(LadderTest, AFailedMissGivesBackWhatItTookFromRightBehind) {
  struct Op {
    int block;
    std::uint64_t bytes;  // 0: free
    bool map_fails;
  };
  static constexpr Op kProgram[] = {
      {7, 23068672, false},  {8, 16777216, false},  {8, 0, false},         {7, 0, false},         {9, 33554432, false},
      {16, 29360128, false}, {16, 0, false},        {9, 0, false},         {17, 25165824, false}, {18, 35651584, false},
      {19, 25165824, false}, {21, 6291456, false},  {23, 23068672, false}, {24, 23068672, true},  {17, 0, false},
      {18, 0, false},        {25, 27262976, false}, {19, 0, false},        {26, 33554432, false}, {27, 6291456, false},
      {28, 25165824, false}, {23, 0, false},        {25, 0, false},        {21, 0, false},        {31, 4194304, false},
      {26, 0, false},        {28, 0, false},        {34, 35651584, false}, {27, 0, false},        {36, 14680064, false},
      {37, 8388608, false},  {38, 23068672, false}, {41, 14732570, false}, {42, 24752317, false}, {42, 0, false},
      {31, 0, false},        {43, 12582912, false}, {45, 6706646, false},  {34, 0, false},        {49, 12582912, true},
      {50, 10485760, true},
  };
  open(160 * kMiB);
  std::map<int, void*> blocks;
  for (const Op& op : kProgram) {
    if (op.bytes == 0) {
      free(blocks.extract(op.block).mapped());
      continue;
    }
    if (op.map_fails) faults_->add({.call = driver::Call::map, .error = driver::Result::unknown});
    void* out = nullptr;
    const gapless_status status = try_allocate(op.bytes, out);
    EXPECT_TRUE(status == GAPLESS_OK || faults_->injected() > 0);
    if (status == GAPLESS_OK) blocks[op.block] = out;
    faults_->clear();
    validate();
  }
  for (const auto& [id, block] : blocks) free(block);
}

}  // namespace
}  // namespace gapless::engine

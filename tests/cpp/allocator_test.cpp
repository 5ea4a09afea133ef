// SPDX-License-Identifier: Apache-2.0
#include "fixture.hpp"

namespace gapless::test {
namespace {

TEST(Open, WrongOptionsAreNamed) {
  OpenOptions options;
  options.options = "no_such_option:1";
  const Result<Allocator> opened = Allocator::try_open(options);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.status(), Status::invalid_argument);
  EXPECT_NE(opened.failure().message().find("no_such_option"), std::string::npos) << opened.failure().message();
}

using AllocatorTest = SimulatedDevice;

TEST_F(AllocatorTest, CountsDevices) {
  EXPECT_EQ(allocator.device_count(), 2);
  EXPECT_TRUE(gpu.try_probe());
  EXPECT_FALSE(allocator.device(2).try_probe());
}

TEST_F(AllocatorTest, CloseIsRefusedWhileBlocksLive) {
  Block block = gpu.allocate(kMiB);
  const Result<void> closed = allocator.try_close();
  EXPECT_EQ(closed.status(), Status::busy);
  EXPECT_THROW(allocator.close(), Error);
  EXPECT_EQ(block.info().requested_bytes, kMiB);
  block.reset();
  EXPECT_TRUE(allocator.try_close());
  EXPECT_TRUE(allocator.try_close()) << "closing twice is nothing";
}

TEST_F(AllocatorTest, ABlockMayOutliveItsAllocator) {
  Block late;
  gapless_allocator* handle = nullptr;
  {
    Allocator other = Allocator::open(plain());
    handle = other.handle();
    late = other.device(0).allocate(kMiB);
  }
  EXPECT_EQ(late.info().requested_bytes, kMiB) << "the destructor of the allocator left it open";
  late.reset();
  EXPECT_EQ(gapless_close(handle), GAPLESS_OK);
}

TEST_F(AllocatorTest, MovesItsHandle) {
  gapless_allocator* const handle = allocator.handle();
  Allocator other = std::move(allocator);
  EXPECT_EQ(other.handle(), handle);
  EXPECT_EQ(allocator.handle(), nullptr);
  allocator = std::move(other);
  EXPECT_EQ(allocator.handle(), handle);
  EXPECT_EQ(Allocator::adopt(allocator.release()).handle(), handle);
}

TEST_F(AllocatorTest, OptionsByName) {
  EXPECT_EQ(allocator.try_option("no_such_option").status(), Status::not_found);
  EXPECT_EQ(allocator.try_set_option("no_such_option", "1").status(), Status::not_found);
  const std::string slack = allocator.option("slack");
  EXPECT_FALSE(slack.empty());
  EXPECT_EQ(allocator.try_set_option("slack", "not a number").status(), Status::invalid_argument);
  EXPECT_EQ(allocator.option("slack"), slack);
}

}  // namespace
}  // namespace gapless::test

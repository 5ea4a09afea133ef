// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <type_traits>

#include "gapless/gapless.hpp"

namespace gapless {
namespace {

TEST(Result, HoldsAValue) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(7));
  ASSERT_TRUE(result);
  EXPECT_EQ(result.status(), Status::ok);
  EXPECT_EQ(**result, 7);
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 7);
}

TEST(Result, HoldsAFailure) {
  const Result<int> result(Failure{Status::driver, 2, "cuMemCreate"});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.status(), Status::driver);
  EXPECT_EQ(result.failure().driver_error, 2);
  EXPECT_EQ(Result<int>(result).value_or(5), 5);
}

TEST(Result, OutOfMemoryIsABadAlloc) {
  const Result<int> result(Failure{Status::out_of_memory, 0, "3 of 2 GiB"});
  EXPECT_THROW(static_cast<void>(result.value()), std::bad_alloc);
  try {
    static_cast<void>(result.value());
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.failure().detail, "3 of 2 GiB");
    EXPECT_EQ(std::string(error.what()), std::string("gapless: ") + name(Status::out_of_memory) + ": 3 of 2 GiB");
  }
}

TEST(Result, OtherFailuresAreErrors) {
  const Result<void> result(Failure{Status::busy, 0, ""});
  EXPECT_THROW(result.value(), Error);
  try {
    result.value();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::busy);
    EXPECT_EQ(std::string(error.what()), std::string("gapless: ") + name(Status::busy));
  }
}

TEST(Result, ReadsTheThreadsErrorAtOnce) {
  gapless_block_info info = GAPLESS_STRUCT(gapless_block_info);
  const gapless_status status = gapless_block_of(nullptr, nullptr, &info);
  ASSERT_NE(status, GAPLESS_OK);
  const std::string text = gapless_last_error();
  const Failure failure = detail::failure_of(status);
  EXPECT_EQ(failure.detail, text);
  EXPECT_EQ(failure.status, static_cast<Status>(status));
}

// What lives in containers must move without throwing, and must not be copied by accident.
static_assert(std::is_nothrow_move_constructible_v<Block> && !std::is_copy_constructible_v<Block>);
static_assert(std::is_nothrow_move_assignable_v<Block>);
static_assert(std::is_nothrow_move_constructible_v<Array<float>> && !std::is_copy_constructible_v<Array<float>>);
static_assert(std::is_nothrow_move_constructible_v<Pool> && !std::is_copy_constructible_v<Pool>);
static_assert(std::is_nothrow_move_constructible_v<PoolScope> && !std::is_copy_constructible_v<PoolScope>);
static_assert(std::is_nothrow_move_constructible_v<OomHook> && !std::is_copy_constructible_v<OomHook>);
static_assert(std::is_nothrow_move_constructible_v<ScopedLimit> && !std::is_copy_constructible_v<ScopedLimit>);
static_assert(std::is_nothrow_move_constructible_v<Allocator> && !std::is_copy_constructible_v<Allocator>);
static_assert(std::is_trivially_copyable_v<Device>);

}  // namespace
}  // namespace gapless

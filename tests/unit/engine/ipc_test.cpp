// SPDX-License-Identifier: Apache-2.0
// Memory between processes: what is shared, mapped, pinned and refused.
#include <cstring>
#include <random>

#include "ipc_process.hpp"

namespace gapless::engine {
namespace {

class IpcTest : public ::testing::Test {
 protected:
  Process here, there;
  HandleBytes handle{};
  std::size_t offset = 0;
  char* base = nullptr;
};

TEST_F(IpcTest, BothSeeTheBytes) {
  for (const std::size_t bytes : {std::size_t{100}, std::size_t{3 * kMiB}, std::size_t{700 * kMiB}}) {
    here.free(here.allocate(5000));  // blocks do not begin where granules do
    void* const block = here.allocate(bytes);
    ASSERT_EQ(here.share(block, handle, offset), GAPLESS_OK) << gapless_last_error();
    ASSERT_EQ(there.import(handle, base), GAPLESS_OK) << gapless_last_error();
    std::strcpy(here.bytes_of(block, 6), "hello");
    EXPECT_STREQ(there.bytes_of(base + offset, 6), "hello");
    std::strcpy(there.bytes_of(base + offset + bytes - 20, 6), "back!");
    EXPECT_STREQ(here.bytes_of(static_cast<char*>(block) + bytes - 20, 6), "back!");
    EXPECT_EQ(there.machine->physical_bytes(0), 0u) << "counted where it was made";
    EXPECT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_OK) << gapless_last_error();
    here.free(block);
  }
}

TEST_F(IpcTest, AnInnerPointerAndASecondExport) {
  char* const block = static_cast<char*>(here.allocate(9 * kMiB));
  ASSERT_EQ(here.share(block, handle, offset), GAPLESS_OK);
  HandleBytes again{};
  std::size_t inner = 0;
  ASSERT_EQ(here.share(block + 3 * kMiB, again, inner), GAPLESS_OK);
  EXPECT_EQ(handle, again) << "one block, one handle: a receiver maps it once";
  EXPECT_EQ(inner, offset + 3 * kMiB);
  here.free(block);
}

TEST_F(IpcTest, PinnedUntilItIsFreed) {
  void* const block = here.allocate(9 * kMiB);
  ASSERT_EQ(here.share(block, handle, offset), GAPLESS_OK);
  EXPECT_GE(here.pinned(), static_cast<std::int64_t>(9 * kMiB));
  EXPECT_LE(here.pinned(), static_cast<std::int64_t>(12 * kMiB));
  ASSERT_EQ(there.import(handle, base), GAPLESS_OK);
  here.free(block);
  here.trim();
  EXPECT_EQ(here.pinned(), 0);
  gapless_stats stats = GAPLESS_STRUCT(gapless_stats);
  ASSERT_EQ(gapless_get_stats(here.allocator, 0, &stats), GAPLESS_OK);
  EXPECT_EQ(stats.reserved_bytes[GAPLESS_ALL].current, 0);
  EXPECT_NE(there.bytes_of(base, 1), nullptr) << "the importer's mapping stays until it closes it";
  EXPECT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_OK);
}

TEST_F(IpcTest, AnImportTakesAsManyAddressesAsItMaps) {
  void* const block = here.allocate(2 * kMiB + 1000);
  ASSERT_EQ(here.share(block, handle, offset), GAPLESS_OK);
  std::array<char*, 40> bases{};
  for (char*& one : bases) ASSERT_EQ(there.import(handle, one), GAPLESS_OK) << gapless_last_error();
  for (char* one : bases) EXPECT_EQ(gapless_ipc_close(there.allocator, one), GAPLESS_OK);
  here.free(block);
}

TEST_F(IpcTest, DeadBlocksAndWrongHandlesAreRefused) {
  void* const block = here.allocate(9 * kMiB);
  ASSERT_EQ(here.share(block, handle, offset), GAPLESS_OK);
  HandleBytes wrong = handle;
  wrong[sizeof(capi::IpcHandle::magic) + 16] ^= 1;  // the secret
  EXPECT_EQ(there.import(wrong, base), GAPLESS_ERROR_NOT_FOUND);
  wrong = handle;
  wrong[sizeof(capi::IpcHandle::magic)] ^= 1;  // the server
  EXPECT_EQ(there.import(wrong, base), GAPLESS_ERROR_INVALID_ARGUMENT);
  void* out = nullptr;
  EXPECT_EQ(gapless_ipc_import(there.allocator, 0, handle.data(), 20, &out), GAPLESS_ERROR_INVALID_ARGUMENT);
  here.free(block);
  EXPECT_EQ(there.import(handle, base), GAPLESS_ERROR_NOT_FOUND) << gapless_last_error();
  EXPECT_EQ(here.share(block, handle, offset), GAPLESS_ERROR_UNKNOWN_POINTER);
  EXPECT_EQ(gapless_ipc_close(there.allocator, block), GAPLESS_ERROR_UNKNOWN_POINTER);
}

TEST_F(IpcTest, AHandleOpensItsOwnBlockOnly) {
  void* const mine = here.allocate(9 * kMiB);
  void* const secret = here.allocate(9 * kMiB);
  HandleBytes other{};
  ASSERT_EQ(here.share(mine, handle, offset), GAPLESS_OK);
  ASSERT_EQ(here.share(secret, other, offset), GAPLESS_OK);
  capi::IpcHandle forged;
  capi::IpcHandle target;
  std::memcpy(&forged, handle.data(), sizeof forged);
  std::memcpy(&target, other.data(), sizeof target);
  EXPECT_NE(forged.secret, target.secret);
  forged.id = target.id;
  std::memcpy(handle.data(), &forged, sizeof forged);
  EXPECT_EQ(there.import(handle, base), GAPLESS_ERROR_NOT_FOUND);
  here.free(mine);
  here.free(secret);
}

TEST_F(IpcTest, AClosedImportIsClosedOnce) {
  void* const block = here.allocate(9 * kMiB);
  ASSERT_EQ(here.share(block, handle, offset), GAPLESS_OK);
  ASSERT_EQ(there.import(handle, base), GAPLESS_OK);
  EXPECT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_OK);
  EXPECT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_ERROR_UNKNOWN_POINTER);
  here.free(block);
}

TEST_F(IpcTest, TheProcessThatSharedItMayMapItToo) {
  void* const block = here.allocate(3 * kMiB);
  ASSERT_EQ(here.share(block, handle, offset), GAPLESS_OK);
  ASSERT_EQ(here.import(handle, base), GAPLESS_OK) << gapless_last_error();
  std::strcpy(here.bytes_of(block, 6), "hello");
  EXPECT_STREQ(here.bytes_of(base + offset, 6), "hello");
  EXPECT_EQ(gapless_ipc_close(here.allocator, base), GAPLESS_OK);
  here.free(block);
}

TEST_F(IpcTest, AGranuleStaysPinnedWhileAnotherBlockOfItIsShared) {
  void* const first = here.allocate(100'000);
  void* const second = here.allocate(100'000);
  ASSERT_EQ(here.share(first, handle, offset), GAPLESS_OK);
  ASSERT_EQ(here.share(second, handle, offset), GAPLESS_OK);
  EXPECT_EQ(here.pinned(), static_cast<std::int64_t>(2 * kMiB));
  here.free(first);
  here.trim();
  EXPECT_EQ(here.pinned(), static_cast<std::int64_t>(2 * kMiB));
  ASSERT_EQ(there.import(handle, base), GAPLESS_OK) << gapless_last_error();
  EXPECT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_OK);
  here.free(second);
  here.trim();
  EXPECT_EQ(here.pinned(), 0);
}

// Waiting for the device would break the capture, so the mapping stays until the next import, close or trim finds none.
TEST_F(IpcTest, ClosedWhileAStreamCaptures) {
  void* const block = here.allocate(9 * kMiB);
  ASSERT_EQ(here.share(block, handle, offset), GAPLESS_OK);
  ASSERT_EQ(there.import(handle, base), GAPLESS_OK);
  driver::Stream stream = nullptr;
  ASSERT_EQ(there.machine->stream_create(0, {.non_blocking = true}, stream), driver::Result::ok);
  void* captured = nullptr;
  ASSERT_EQ(gapless_allocate(there.allocator, 0, stream, kMiB, &captured), GAPLESS_OK);
  ASSERT_EQ(there.machine->begin_capture(0, stream, driver::sim::CaptureMode::global), driver::Result::ok);
  EXPECT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_OK) << gapless_last_error();
  EXPECT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_ERROR_UNKNOWN_POINTER);
  EXPECT_NE(there.bytes_of(base, 1), nullptr);
  driver::sim::Graph graph = nullptr;
  EXPECT_EQ(there.machine->end_capture(0, stream, graph), driver::Result::ok) << "the capture is whole";
  const std::uint64_t unmapped = there.faults->calls(driver::Call::unmap);
  char* next = nullptr;
  ASSERT_EQ(there.import(handle, next), GAPLESS_OK);
  EXPECT_EQ(there.faults->calls(driver::Call::unmap), unmapped + 1) << "gone when the next one is received";
  EXPECT_EQ(gapless_ipc_close(there.allocator, next), GAPLESS_OK);
  EXPECT_EQ(there.machine->graph_destroy(graph), driver::Result::ok);
  there.free(captured);
  here.free(block);
}

// Each driver call on the way fails once: nothing is left mapped, reserved or held.
TEST_F(IpcTest, EveryCallOfAnImportMayFail) {
  void* const block = here.allocate(5 * kMiB);
  ASSERT_EQ(here.share(block, handle, offset), GAPLESS_OK);
  ASSERT_EQ(there.import(handle, base), GAPLESS_OK);  // brings its device up
  ASSERT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_OK);
  const std::size_t files = open_files();  // memory that was received is a file, as long as it is held
  char* const first = base;
  std::uint64_t failing = 0;
  for (;; failing++) {
    ASSERT_LT(failing, 100u);
    ASSERT_TRUE(open_files_fall_to(files)) << "after call " << failing << " failed";
    there.faults->clear();
    driver::FaultDriver::Rule rule;
    rule.memory_only = true;
    rule.skip = failing;
    there.faults->add(rule);
    if (there.import(handle, base) == GAPLESS_OK) break;
  }
  EXPECT_GT(failing, 4u) << "an import reserves, takes in, maps and gives access";
  EXPECT_EQ(base, first) << "its addresses are free again, and the lowest free ones are given";
  for (const driver::Call call : {driver::Call::unmap, driver::Call::release, driver::Call::address_free}) {
    there.faults->clear();
    driver::FaultDriver::Rule rule;
    rule.call = call;
    rule.error = driver::Result::unknown;
    there.faults->add(rule);
    EXPECT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_ERROR_DRIVER);
    there.trim();
    EXPECT_EQ(there.bytes_of(base, 1), nullptr);
    ASSERT_EQ(there.import(handle, base), GAPLESS_OK);
  }
  EXPECT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_OK);
  here.free(block);
}

TEST_F(IpcTest, WhatAFailedImportCouldNotGiveBackIsGivenBackLater) {
  void* const block = here.allocate(5 * kMiB);
  ASSERT_EQ(here.share(block, handle, offset), GAPLESS_OK);
  there.free(there.allocate(1));  // brings its device up
  there.trim();
  for (const driver::Call call : {driver::Call::map, driver::Call::release}) {
    driver::FaultDriver::Rule rule;
    rule.call = call;
    rule.error = driver::Result::unknown;
    there.faults->add(rule);
  }
  const std::uint64_t freed = there.faults->calls(driver::Call::address_free);
  EXPECT_EQ(there.import(handle, base), GAPLESS_ERROR_DRIVER);
  EXPECT_EQ(there.faults->calls(driver::Call::address_free), freed);
  there.trim();
  EXPECT_EQ(there.faults->calls(driver::Call::address_free), freed + 1);
  here.free(block);
}

// Pins are looked after in bulk; a thousand shared blocks come and go.
TEST_F(IpcTest, ManyBlocks) {
  std::vector<void*> blocks;
  for (int i = 0; i < 1000; i++) {
    blocks.push_back(here.allocate(100'000));
    ASSERT_EQ(here.share(blocks.back(), handle, offset), GAPLESS_OK);
    if (i % 3 == 0) {
      here.free(blocks[static_cast<std::size_t>(i) / 2]);
      blocks[static_cast<std::size_t>(i) / 2] = here.allocate(50'000);
    }
  }
  ASSERT_EQ(there.import(handle, base), GAPLESS_OK) << gapless_last_error();
  EXPECT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_OK);
  for (void* const block : blocks) here.free(block);
  here.trim();
  EXPECT_EQ(here.pinned(), 0);
}

TEST_F(IpcTest, NoHandleCrashes) {
  void* const block = here.allocate(9 * kMiB);
  ASSERT_EQ(here.share(block, handle, offset), GAPLESS_OK);
  std::mt19937_64 random(1);
  for (int i = 0; i < 300; i++) {
    HandleBytes wrong = handle;
    for (int flips = 0; flips <= i % 3; flips++) wrong[random() % wrong.size()] ^= static_cast<unsigned char>(random());
    if (there.import(wrong, base) == GAPLESS_OK) {
      EXPECT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_OK);
    }
  }
  ASSERT_EQ(there.import(handle, base), GAPLESS_OK) << "the server still answers: " << gapless_last_error();
  EXPECT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_OK);
  here.free(block);
}

}  // namespace
}  // namespace gapless::engine

// SPDX-License-Identifier: Apache-2.0
// Memory between processes. The other process is another allocator on a machine of its own: they share nothing but the
// socket and the descriptors.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>

#include "capi/ipc_wire.hpp"
#include "fixture.hpp"

namespace gapless::engine {
namespace {

using Bytes = std::array<unsigned char, sizeof(capi::IpcHandle)>;

struct Process {
  Process() {
    driver::sim::Config config;
    config.size = 4 * kGiB;
    config.strict = true;
    config.data = true;
    config.fixed_base = false;
    config.va = 64 * kGiB;
    machine = std::make_unique<driver::sim::Machine>(config);
    EXPECT_EQ(capi::open_with_driver(driver::sim::make_sim_driver(*machine), {}, &allocator), GAPLESS_OK);
  }
  ~Process() {
    EXPECT_EQ(gapless_close(allocator), GAPLESS_OK) << gapless_last_error();
    EXPECT_EQ(machine->physical_bytes(0), 0u);
    EXPECT_EQ(machine->violation_count(), 0u) << machine->violations().front().text;
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void* allocate(std::size_t bytes) {
    void* out = nullptr;
    EXPECT_EQ(gapless_allocate(allocator, 0, nullptr, bytes, &out), GAPLESS_OK) << gapless_last_error();
    return out;
  }
  void free(void* block) { EXPECT_EQ(gapless_deallocate(allocator, block), GAPLESS_OK) << gapless_last_error(); }
  gapless_status share(void* pointer, Bytes& handle, std::size_t& offset) {
    std::size_t length = 0;
    const gapless_status status =
        gapless_ipc_export(allocator, pointer, handle.data(), handle.size(), &length, &offset);
    EXPECT_TRUE(status != GAPLESS_OK || length == handle.size());
    return status;
  }
  gapless_status import(const Bytes& handle, char*& base) {
    void* out = nullptr;
    const gapless_status status = gapless_ipc_import(allocator, 0, handle.data(), handle.size(), &out);
    base = static_cast<char*>(out);
    return status;
  }
  char* bytes_of(void* address, std::size_t length) {
    return static_cast<char*>(machine->translate(reinterpret_cast<driver::Address>(address), length));
  }
  std::int64_t pinned() {
    gapless_stats stats = GAPLESS_STRUCT(gapless_stats);
    EXPECT_EQ(gapless_get_stats(allocator, 0, &stats), GAPLESS_OK);
    return stats.pinned_bytes;
  }
  void trim() {
    std::size_t released = 0;
    EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_OK) << gapless_last_error();
  }

  std::unique_ptr<driver::sim::Machine> machine;
  gapless_allocator* allocator = nullptr;
};

class IpcTest : public ::testing::Test {
 protected:
  Process here, there;
  Bytes handle{};
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
  Bytes again{};
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
  Bytes wrong = handle;
  wrong[sizeof(capi::IpcHandle::magic) + 16] ^= 1;  // the secret
  EXPECT_EQ(there.import(wrong, base), GAPLESS_ERROR_INVALID_ARGUMENT);
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

TEST_F(IpcTest, NoHandleCrashes) {
  void* const block = here.allocate(9 * kMiB);
  ASSERT_EQ(here.share(block, handle, offset), GAPLESS_OK);
  std::mt19937_64 random(1);
  for (int i = 0; i < 300; i++) {
    Bytes wrong = handle;
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

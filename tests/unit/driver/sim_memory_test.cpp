// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <random>
#include <string>
#include <vector>

#include "driver/sim/address_space.hpp"
#include "driver/sim/machine.hpp"
#include "driver/sim/slot_table.hpp"
#include "driver/sim/types.hpp"

namespace gapless::driver::sim {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;

Config of_size(std::uint64_t bytes) {
  Config config;
  config.size = bytes;
  return config;
}

// The replays of the reference traces depend on these numbers.
TEST(SimMemory, LinearAllocationsAreChargedAsTheDriverCharges) {
  Machine machine(of_size(1ull << 30));
  struct {
    std::uint64_t asked, charged;
  } const rows[] = {{1, 512},
                    {512, 512},
                    {513, 1024},
                    {kMiB - 1, kMiB},
                    {kMiB, 2 * kMiB},
                    {2 * kMiB, 2 * kMiB},
                    {2 * kMiB + 1, 4 * kMiB}};
  for (const auto& row : rows) {
    Address at = 0;
    ASSERT_EQ(machine.allocate(0, row.asked, at), Result::ok);
    EXPECT_EQ(machine.physical_bytes(0), row.charged) << row.asked;
    EXPECT_EQ(at % 512, 0u);
    ASSERT_EQ(machine.free(0, at), Result::ok);
    EXPECT_EQ(machine.physical_bytes(0), 0u);
  }
  Address at = 0;
  EXPECT_EQ(machine.allocate(0, 0, at), Result::invalid_value);
}

TEST(SimMemory, FailsExactlyAtTheCapacityAndChangesNothing) {
  Config config = of_size(100 * kMiB);
  config.other = 40 * kMiB;
  Machine machine(config);
  Address at = 0;
  ASSERT_EQ(machine.allocate(0, 58 * kMiB, at), Result::ok);
  Address more = 42;
  EXPECT_EQ(machine.allocate(0, 4 * kMiB, more), Result::out_of_memory);
  Handle handle = 42;
  EXPECT_EQ(machine.create(0, 4 * kMiB, {}, handle), Result::out_of_memory);
  EXPECT_EQ(more, 42u);
  EXPECT_EQ(handle, 42u);
  EXPECT_EQ(machine.physical_bytes(0), 58 * kMiB);
  EXPECT_EQ(machine.create(0, 2 * kMiB, {}, handle), Result::ok);
  MemoryInfo info;
  ASSERT_EQ(machine.memory_info(0, info), Result::ok);
  EXPECT_EQ(info.free_bytes, 0u);
  EXPECT_EQ(info.total_bytes, 100 * kMiB);
  machine.set_other_process_bytes(0, 0);
  ASSERT_EQ(machine.memory_info(0, info), Result::ok);
  EXPECT_EQ(info.free_bytes, 40 * kMiB);
  EXPECT_EQ(machine.violation_count(), 0u);
}

TEST(SimMemory, AHandleLivesWhileItIsHeldOrShown) {
  Machine machine(of_size(64 * kMiB));
  Address base = 0;
  Handle handle = 0;
  ASSERT_EQ(machine.address_reserve(8 * kMiB, 0, 0, base), Result::ok);
  ASSERT_EQ(machine.create(0, 2 * kMiB, {}, handle), Result::ok);
  ASSERT_EQ(machine.map(base, 2 * kMiB, 0, handle), Result::ok);
  ASSERT_EQ(machine.map(base + 4 * kMiB, 2 * kMiB, 0, handle), Result::ok);
  ASSERT_EQ(machine.release(handle), Result::ok);
  EXPECT_EQ(machine.physical_bytes(0), 2 * kMiB);
  ASSERT_EQ(machine.unmap(base, 2 * kMiB), Result::ok);
  EXPECT_EQ(machine.physical_bytes(0), 2 * kMiB);
  Handle retained = 0;
  ASSERT_EQ(machine.retain(base + 5 * kMiB, retained), Result::ok);
  ASSERT_EQ(machine.unmap(base + 4 * kMiB, 2 * kMiB), Result::ok);
  EXPECT_EQ(machine.physical_bytes(0), 2 * kMiB);
  ASSERT_EQ(machine.release(retained), Result::ok);
  EXPECT_EQ(machine.physical_bytes(0), 0u);
  EXPECT_EQ(machine.physical_bytes_peak(0), 2 * kMiB);
  EXPECT_EQ(machine.violation_count(), 0u);
}

TEST(SimMemory, FabricHandles) {
  Config config = of_size(64 * kMiB);
  config.fixed_base = false;
  config.fabric = true;
  Machine here(config);
  Machine there(config);
  Handle handle = 0;
  Handle again = 0;
  Handle imported = 0;
  SharedMemory bytes;
  ASSERT_EQ(here.create(0, 4 * kMiB, {.posix_fd = true, .fabric = true}, handle), Result::ok);
  ASSERT_EQ(here.export_fabric(handle, bytes), Result::ok);
  ASSERT_EQ(here.import_fabric(bytes, again), Result::ok);
  EXPECT_EQ(again, handle);
  ASSERT_EQ(there.import_fabric(bytes, imported), Result::ok);
  EXPECT_EQ(there.physical_bytes(0), 0u) << "counted where it was made";
  int device = -1;
  std::size_t size = 0;
  HandleProperties properties;
  ASSERT_EQ(there.handle_info(imported, device, size, properties), Result::ok);
  EXPECT_EQ(size, 4 * kMiB);
  EXPECT_TRUE(properties.fabric);
  ASSERT_EQ(here.release(handle), Result::ok);
  ASSERT_EQ(here.release(again), Result::ok);
  EXPECT_EQ(here.import_fabric(bytes, again), Result::invalid_value) << "nobody holds it";
  EXPECT_EQ(here.violation_count() + there.violation_count(), 0u);
  EXPECT_EQ(there.import_fabric({}, again), Result::invalid_value);
  EXPECT_STREQ(there.violations().at(0).rule, "HDL-4");
  ASSERT_EQ(here.create(0, 2 * kMiB, {.posix_fd = true}, handle), Result::ok);
  EXPECT_EQ(here.export_fabric(handle, bytes), Result::invalid_value);
  EXPECT_STREQ(here.violations().at(0).rule, "HDL-3");
}

TEST(SimMemory, FabricHandlesWhereThereAreNone) {
  Handle handle = 0;
  Machine without(of_size(64 * kMiB));
  EXPECT_EQ(without.create(0, 2 * kMiB, {.fabric = true}, handle), Result::not_supported);
  EXPECT_EQ(without.import_fabric({}, handle), Result::not_supported);
  Config config = of_size(64 * kMiB);
  config.fabric = true;
  config.fabric_permitted = false;
  Machine refused(config);
  DeviceInfo info;
  ASSERT_EQ(refused.device_info(0, info), Result::ok);
  EXPECT_TRUE(info.fabric_handles) << "the device says that it makes them";
  EXPECT_EQ(refused.create(0, 2 * kMiB, {.fabric = true}, handle), code::not_permitted);
  EXPECT_EQ(refused.physical_bytes(0), 0u);
  EXPECT_EQ(refused.violation_count(), 0u);
}

TEST(SimMemory, StaleHandlesAreNeverAnotherOnes) {
  Machine machine(of_size(64 * kMiB));
  Handle first = 0;
  Handle second = 0;
  ASSERT_EQ(machine.create(0, 2 * kMiB, {}, first), Result::ok);
  ASSERT_EQ(machine.release(first), Result::ok);
  ASSERT_EQ(machine.create(0, 2 * kMiB, {}, second), Result::ok);
  EXPECT_NE(first, second);
  EXPECT_EQ(machine.release(first), Result::invalid_value);
  EXPECT_EQ(machine.physical_bytes(0), 2 * kMiB);
}

TEST(SimMemory, ThePoolGrowsInStepsAndGivesIdleBytesBeforeAnOom) {
  Machine machine(of_size(100 * kMiB));
  Address a = 0;
  ASSERT_EQ(machine.pool_allocate(0, 3 * kMiB, nullptr, a), Result::ok);
  EXPECT_EQ(machine.physical_bytes(0), 32 * kMiB);
  PoolStats stats;
  ASSERT_EQ(machine.pool_stats(0, stats), Result::ok);
  EXPECT_EQ(stats.used, 3 * kMiB);
  ASSERT_EQ(machine.pool_free(0, a, nullptr), Result::ok);
  EXPECT_EQ(machine.physical_bytes(0), 32 * kMiB) << "the pool keeps its bytes until a synchronisation";
  ASSERT_EQ(machine.allocate(0, 90 * kMiB, a), Result::ok) << "the pool's idle bytes go first";
  EXPECT_EQ(machine.physical_bytes(0), 90 * kMiB);
  Address b = 0;
  ASSERT_EQ(machine.pool_allocate(0, 9 * kMiB, nullptr, b), Result::ok) << "a step of 32 MiB does not fit, granules do";
  EXPECT_EQ(machine.physical_bytes(0), 100 * kMiB);
  ASSERT_EQ(machine.pool_free(0, b, nullptr), Result::ok);
  ASSERT_EQ(machine.device_synchronize(0), Result::ok);
  EXPECT_EQ(machine.physical_bytes(0), 90 * kMiB) << "threshold 0: idle bytes go at a synchronisation";
}

TEST(SimMemory, AFillWhoseBytesCannotBeCountedIsRefused) {
  Config config;
  config.strict = true;
  Machine machine(config);
  Address base = 0;
  ASSERT_EQ(machine.allocate(0, 4096, base), Result::ok);
  Machine::Fill fill;
  fill.name = "cuMemsetD32";
  fill.to = base;
  fill.width = 4;
  fill.elements = std::size_t{1} << 62;  // four times this is 0 in 64 bits
  EXPECT_EQ(machine.fill(0, nullptr, fill), Result::invalid_value);
  EXPECT_EQ(machine.operations(), 0u);
}

TEST(SimMemory, StreamOrderedAllocationTakesThePoolOfTheStreamsDevice) {
  Config config;
  config.devices = 2;
  Machine machine(config);
  Stream second = nullptr;
  ASSERT_EQ(machine.stream_create(1, {}, second), Result::ok);
  Address base = 0;
  ASSERT_EQ(machine.pool_allocate(0, 4096, second, base), Result::ok);
  EXPECT_EQ(machine.find(base).device, 1);
  EXPECT_EQ(machine.physical_bytes(0), 0u);
  ASSERT_EQ(machine.pool_allocate(0, 4096, second, base, 0), Result::ok);
  EXPECT_EQ(machine.find(base).device, 0) << "a pool that the program names";
  ASSERT_EQ(machine.pool_allocate(0, 4096, nullptr, base), Result::ok);
  EXPECT_EQ(machine.find(base).device, 0);
}

TEST(SimMemory, KernelsReachPinnedHostMemoryAndNotItsNeighbours) {
  Config config;
  config.strict = true;
  Machine machine(config);
  static char bytes[8192];
  ASSERT_EQ(machine.host_register(bytes, 4096), Result::ok);
  const auto use = [&](char* at, std::size_t n) {
    const Access access{reinterpret_cast<Address>(at), n, true, -1};
    Operation operation;
    operation.name = "kernel";
    operation.accesses = {&access, 1};
    EXPECT_EQ(machine.submit(0, nullptr, operation), Result::ok);
    return machine.violation_count();
  };
  EXPECT_EQ(use(bytes, 4096), 0u);
  EXPECT_EQ(use(bytes + 4095, 1), 0u);
  EXPECT_EQ(use(bytes + 4095, 2), 1u);
  EXPECT_STREQ(machine.violations()[0].rule, "ACC-1");
  EXPECT_EQ(machine.host_unregister(bytes), Result::ok);
  EXPECT_EQ(use(bytes, 1), 2u);
}

TEST(SimMemory, AnImportOfItsOwnDescriptorHoldsTheHandleAndNoOther) {
  Machine machine(Config{});
  HandleProperties properties;
  properties.posix_fd = true;
  Handle handles[2] = {};
  int files[2] = {-1, -1};
  for (const int i : {0, 1}) {
    ASSERT_EQ(machine.create(0, 2 * kMiB, properties, handles[i]), Result::ok);
    ASSERT_EQ(machine.export_posix_fd(handles[i], files[i]), Result::ok);
  }
  Handle imported = 0;
  ASSERT_EQ(machine.import_posix_fd(files[1], imported), Result::ok);
  EXPECT_EQ(imported, handles[1]);
  for (const int i : {0, 1}) ASSERT_EQ(machine.release(handles[i]), Result::ok);
  EXPECT_EQ(machine.physical_bytes(0), 2 * kMiB) << "the import holds it";
  Handle another = 0;
  ASSERT_EQ(machine.create(0, 2 * kMiB, properties, another), Result::ok);
  EXPECT_EQ(machine.import_posix_fd(files[0], imported), Result::invalid_value) << "gone, and its place has a new one";
  for (const int file : files) ::close(file);
}

// cuda.h: "the reference count on the handle is incremented by 1 and the existing device pointer is returned".
TEST(SimMemory, WhatIsOpenedTwiceHasOneAddress) {
  for (const bool data : {false, true}) {
    Config config;
    config.strict = true;
    config.data = data;
    // With bytes behind the addresses: as in sim_data_test.cpp, for the thread sanitizer.
    config.fixed_base = !data;
    config.va = 4ull << 30;
    config.size = 1ull << 30;
    config.completion = Completion::lazy;
    Machine exporter(config);
    Machine machine(config);
    SharedMemory shared[2];
    for (SharedMemory& one : shared) {
      Address base = 0;
      ASSERT_EQ(exporter.allocate(0, 2 * kMiB, base), Result::ok);
      ASSERT_EQ(exporter.ipc_share(base, one), Result::ok);
    }
    Address first = 0;
    Address again = 0;
    Address other = 0;
    ASSERT_EQ(machine.ipc_open(shared[0], first), Result::ok);
    ASSERT_EQ(machine.ipc_open(shared[0], again), Result::ok);
    ASSERT_EQ(machine.ipc_open(shared[1], other), Result::ok);
    EXPECT_EQ(again, first);
    EXPECT_NE(other, first);
    ASSERT_EQ(machine.ipc_close(first), Result::ok);
    Stream stream = nullptr;
    ASSERT_EQ(machine.stream_create(0, {true, 0}, stream), Result::ok);
    const Access access{first, 2 * kMiB, true, -1};
    Operation kernel;
    kernel.name = "kernel";
    kernel.accesses = {&access, 1};
    ASSERT_EQ(machine.submit(0, stream, kernel), Result::ok);
    EXPECT_EQ(machine.violation_count(), 0u) << "it is still there";
    ASSERT_EQ(machine.ipc_close(first), Result::ok) << "and the last close waits for its use";
    EXPECT_EQ(machine.violation_count(), 0u);
    EXPECT_EQ(machine.stream_query(0, stream), Result::ok);
    EXPECT_EQ(machine.find(first).kind, MemoryKind::none);
    EXPECT_EQ(machine.ipc_close(first), Result::invalid_value);
  }
}

TEST(SimMemory, ReportsAreWholeHoweverLongTheNames) {
  Config config;
  config.strict = true;
  Machine machine(config);
  const std::string first = "first_" + std::string(700, 'x') + "_end";
  const std::string second = "second_" + std::string(700, 'y') + "_end";
  Address base = 0;
  ASSERT_EQ(machine.allocate(0, 512, base), Result::ok);
  for (const std::string& name : {first, second}) {
    StreamFlags flags;
    flags.non_blocking = true;
    Stream stream = nullptr;
    ASSERT_EQ(machine.stream_create(0, flags, stream), Result::ok);
    const Access access{base, 512, true, -1};
    Operation operation;
    operation.name = machine.intern(name);
    operation.accesses = {&access, 1};
    EXPECT_EQ(machine.submit(0, stream, operation), Result::ok);
  }
  ASSERT_EQ(machine.violation_count(), 1u);
  EXPECT_NE(machine.violations()[0].text.find(first), std::string::npos);
  EXPECT_NE(machine.violations()[0].text.find(second), std::string::npos);
}

TEST(SlotTable, TellsMoreThanFourMillionLiveHandlesApart) {
  constexpr std::uint64_t kMany = (1ull << 22) + 100;
  SlotTable<char> table(3);
  std::vector<std::uint64_t> last;
  const std::uint64_t first = table.insert('a');
  for (std::uint64_t i = 1; i < kMany; ++i) {
    const std::uint64_t handle = table.insert('b');
    if (i >= kMany - 100) last.push_back(handle);
  }
  for (const std::uint64_t handle : last) {
    ASSERT_NE(table.find(handle), nullptr);
    table.erase(handle);
    EXPECT_EQ(table.find(handle), nullptr);
  }
  ASSERT_NE(table.find(first), nullptr);
  EXPECT_EQ(*table.find(first), 'a');
  EXPECT_EQ(SlotTable<char>(2).find(first), nullptr) << "of another kind";
}

TEST(SimMemory, WithoutVirtualMemoryTheCallsSayNotSupported) {
  Config config;
  config.virtual_memory = false;
  Machine machine(config);
  DeviceInfo info;
  ASSERT_EQ(machine.device_info(0, info), Result::ok);
  EXPECT_FALSE(info.virtual_memory);
  Address base = 0;
  Handle handle = 0;
  EXPECT_EQ(machine.address_reserve(2 * kMiB, 0, 0, base), Result::not_supported);
  EXPECT_EQ(machine.create(0, 2 * kMiB, {}, handle), Result::not_supported);
  EXPECT_EQ(machine.allocate(0, 2 * kMiB, base), Result::ok);
}

// Against a bitmap of granules: first fit is the lowest free run, merged holes are found again.
TEST(AddressSpace, IsFirstFitOverMergedHoles) {
  constexpr std::size_t kSlots = 64;
  constexpr std::uint64_t kStep = 512;
  std::mt19937_64 random(20261121);
  AddressSpace space(0x10000, kSlots * kStep);
  std::vector<bool> taken(kSlots);
  std::vector<std::pair<Address, std::uint64_t>> live;
  const auto lowest = [&](std::size_t n, std::size_t alignment) -> Address {
    for (std::size_t at = 0; at + n <= kSlots; ++at) {
      if ((0x10000 + at * kStep) % (alignment * kStep) != 0) continue;
      bool free = true;
      for (std::size_t i = at; i < at + n; ++i) free = free && !taken[i];
      if (free) return 0x10000 + at * kStep;
    }
    return 0;
  };
  const auto mark = [&](Address at, std::uint64_t bytes, bool value) {
    for (std::uint64_t i = 0; i < bytes / kStep; ++i) taken[(at - 0x10000) / kStep + i] = value;
  };
  for (int i = 0; i < 20000; ++i) {
    if (random() % 2 == 0) {
      const std::size_t n = 1 + random() % 9;
      const std::size_t alignment = std::size_t{1} << random() % 4;
      const Address expected = lowest(n, alignment);
      ASSERT_EQ(space.take(n * kStep, alignment * kStep), expected) << i;
      if (expected == 0) continue;
      mark(expected, n * kStep, true);
      live.emplace_back(expected, n * kStep);
    } else if (!live.empty()) {
      std::swap(live[random() % live.size()], live.back());
      space.give(live.back().first, live.back().second);
      mark(live.back().first, live.back().second, false);
      live.pop_back();
    }
  }
}

}  // namespace
}  // namespace gapless::driver::sim

// SPDX-License-Identifier: Apache-2.0
// Bytes behind device addresses. No fixed base and a small space: thread sanitizer's runtime owns most addresses.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "driver/sim/machine.hpp"
#include "driver/sim/types.hpp"

namespace gapless::driver::sim {
namespace {

Config data_config(const char* completion) {
  Config config;
  config.data = true;
  config.fixed_base = false;
  config.va = 4ull << 30;
  config.size = 1ull << 30;
  EXPECT_TRUE(parse_completion(completion, config));
  return config;
}

void* at(Address address) {
  return reinterpret_cast<void*>(address);
}

class SimData : public testing::TestWithParam<const char*> {
 protected:
  Machine machine_{data_config(GetParam())};

  void put(Address to, const std::vector<char>& bytes, Stream stream = nullptr) {
    Machine::Copy copy;
    copy.to = at(to);
    copy.from = bytes.data();
    copy.bytes = bytes.size();
    ASSERT_EQ(machine_.copy(0, stream, copy), Result::ok);
  }
  std::vector<char> get(Address from, std::size_t n) {
    std::vector<char> bytes(n, 'x');
    Machine::Copy copy;
    copy.to = bytes.data();
    copy.from = at(from);
    copy.bytes = n;
    copy.synchronous = true;
    EXPECT_EQ(machine_.copy(0, nullptr, copy), Result::ok);
    return bytes;
  }
};

std::vector<char> pattern(std::size_t n) {
  std::vector<char> bytes(n);
  std::iota(bytes.begin(), bytes.end(), char{1});
  return bytes;
}

TEST_P(SimData, CopiesArriveAndPageableSourcesMayChangeAtOnce) {
  Address block = 0;
  ASSERT_EQ(machine_.allocate(0, 100000, block), Result::ok);
  std::vector<char> source = pattern(100000);
  const std::vector<char> expected = source;
  put(block, source);
  std::fill(source.begin(), source.end(), '!');
  EXPECT_EQ(get(block, 100000), expected);
  ASSERT_EQ(machine_.free(0, block), Result::ok);
}

TEST_P(SimData, TwoAddressesOfAHandleShowTheSameBytes) {
  Address base = 0;
  Handle handle = 0;
  const int zero = 0;
  ASSERT_EQ(machine_.address_reserve(4 * kGranule, 0, 0, base), Result::ok);
  ASSERT_EQ(machine_.create(0, kGranule, {}, handle), Result::ok);
  for (const Address slot : {base, base + 3 * kGranule}) {
    ASSERT_EQ(machine_.map(slot, kGranule, 0, handle), Result::ok);
    EXPECT_EQ(machine_.translate(slot, kGranule) != nullptr, true);
    ASSERT_EQ(machine_.set_access(slot, kGranule, {&zero, 1}, Machine::Permission::read_write), Result::ok);
  }
  put(base + 100, pattern(1000));
  EXPECT_EQ(get(base + 3 * kGranule + 100, 1000), pattern(1000));
  ASSERT_EQ(machine_.unmap(base, kGranule), Result::ok);
  EXPECT_EQ(get(base + 3 * kGranule + 100, 1000), pattern(1000)) << "the other address stays";
  EXPECT_EQ(machine_.translate(base, 1), nullptr);
}

TEST_P(SimData, NewMemoryReadsAsZero) {
  for (int i = 0; i < 3; ++i) {
    Address block = 0;
    ASSERT_EQ(machine_.allocate(0, kGranule, block), Result::ok);
    EXPECT_EQ(get(block, 4096), std::vector<char>(4096));
    put(block, pattern(4096));
    ASSERT_EQ(machine_.device_synchronize(0), Result::ok);
    ASSERT_EQ(machine_.free(0, block), Result::ok);
  }
}

TEST_P(SimData, FillsAndStridedCopies) {
  Address block = 0;
  ASSERT_EQ(machine_.allocate(0, 4096, block), Result::ok);
  Machine::Fill fill;
  fill.to = block;
  fill.value = 0x01020304;
  fill.width = 4;
  fill.elements = 1024;
  ASSERT_EQ(machine_.fill(0, nullptr, fill), Result::ok);
  Machine::Fill corner;
  corner.to = block + 1;
  corner.value = 9;
  corner.elements = 2;
  corner.rows = 3;
  corner.pitch = 16;
  ASSERT_EQ(machine_.fill(0, nullptr, corner), Result::ok);
  const std::vector<char> bytes = get(block, 48);
  for (std::size_t row = 0; row < 3; ++row) {
    EXPECT_EQ(bytes[row * 16], 4);
    EXPECT_EQ(bytes[row * 16 + 1], 9);
    EXPECT_EQ(bytes[row * 16 + 2], 9);
    EXPECT_EQ(bytes[row * 16 + 3], 1);
  }
  std::vector<char> packed(9, 'x');
  Machine::Copy copy;
  copy.to = packed.data();
  copy.from = at(block);
  copy.bytes = 3;
  copy.rows = 3;
  copy.to_pitch = 3;
  copy.from_pitch = 16;
  copy.synchronous = true;
  ASSERT_EQ(machine_.copy(0, nullptr, copy), Result::ok);
  EXPECT_EQ(packed, (std::vector<char>{4, 9, 9, 4, 9, 9, 4, 9, 9}));
}

TEST_P(SimData, AFillStaysInsidePinnedMemoryToItsLastRow) {
  std::vector<char> bytes(256, 'x');
  ASSERT_EQ(machine_.host_register(bytes.data(), 64), Result::ok);
  Machine::Fill fill;
  fill.to = reinterpret_cast<Address>(bytes.data());
  fill.value = 7;
  fill.elements = 16;
  fill.pitch = 24;
  fill.rows = 3;  // 2 * 24 + 16
  ASSERT_EQ(machine_.fill(0, nullptr, fill), Result::ok);
  fill.value = 9;
  fill.rows = 4;
  EXPECT_EQ(machine_.fill(0, nullptr, fill), Result::invalid_value);
  fill.pitch = std::size_t{1} << 63;
  EXPECT_EQ(machine_.fill(0, nullptr, fill), Result::invalid_value) << "more bytes than there are addresses";
  ASSERT_EQ(machine_.device_synchronize(0), Result::ok);
  EXPECT_EQ(bytes[63], 7);
  EXPECT_EQ(std::count(bytes.begin(), bytes.end(), 9), 0);
  EXPECT_EQ(std::count(bytes.begin() + 64, bytes.end(), 'x'), 192);
  ASSERT_EQ(machine_.host_unregister(bytes.data()), Result::ok);
}

// A pool allocation's bytes are there until its free has had its turn in the stream.
TEST_P(SimData, WorkBeforeAPoolFreeStillFindsItsBytes) {
  Stream stream = nullptr;
  StreamFlags flags;
  flags.non_blocking = true;
  ASSERT_EQ(machine_.stream_create(0, flags, stream), Result::ok);
  Address block = 0;
  ASSERT_EQ(machine_.pool_allocate(0, 4096, stream, block), Result::ok);
  put(block, pattern(4096), stream);
  std::vector<char> pinned(4096, 'x');
  ASSERT_EQ(machine_.host_register(pinned.data(), pinned.size()), Result::ok);
  Machine::Copy copy;
  copy.to = pinned.data();
  copy.from = at(block);
  copy.bytes = 4096;
  ASSERT_EQ(machine_.copy(0, stream, copy), Result::ok);
  ASSERT_EQ(machine_.pool_free(0, block, stream), Result::ok);
  ASSERT_EQ(machine_.stream_synchronize(0, stream), Result::ok);
  EXPECT_EQ(pinned, pattern(4096));
  ASSERT_EQ(machine_.host_unregister(pinned.data()), Result::ok);
}

// From one process to a second, and from that to a third.
TEST(SimSharing, WhatWasImportedIsExportedAsTheSameMemory) {
  Machine first(data_config("eager"));
  Machine second(data_config("eager"));
  Machine third(data_config("eager"));
  HandleProperties properties;
  properties.posix_fd = true;
  const auto shown = [](Machine& machine, Handle handle) {
    const int zero = 0;
    Address base = 0;
    EXPECT_EQ(machine.address_reserve(kGranule, 0, 0, base), Result::ok);
    EXPECT_EQ(machine.map(base, kGranule, 0, handle), Result::ok);
    EXPECT_EQ(machine.set_access(base, kGranule, {&zero, 1}, Permission::read_write), Result::ok);
    return static_cast<char*>(machine.translate(base, kGranule));
  };
  const auto passed_on = [](Machine& from, Handle handle, Machine& to) {
    int file = -1;
    Handle imported = 0;
    EXPECT_EQ(from.export_posix_fd(handle, file), Result::ok);
    EXPECT_EQ(to.import_posix_fd(file, imported), Result::ok);
    ::close(file);
    return imported;
  };
  Handle handle = 0;
  ASSERT_EQ(first.create(0, kGranule, properties, handle), Result::ok);
  *shown(first, handle) = 'f';
  const Handle there = passed_on(first, handle, second);
  ASSERT_EQ(second.create(0, kGranule, properties, handle), Result::ok);
  *shown(second, handle) = 's';
  EXPECT_EQ(*shown(third, passed_on(second, there, third)), 'f');
  EXPECT_EQ(*shown(third, passed_on(second, handle, third)), 's');
}

INSTANTIATE_TEST_SUITE_P(Schedules, SimData, testing::Values("eager", "lazy", "lag:3", "random:1"));

TEST(SimBook, DeviceReadsGiveZerosAndHostCopiesArrive) {
  Machine machine(Config{});
  Address block = 0;
  ASSERT_EQ(machine.allocate(0, 4096, block), Result::ok);
  std::vector<char> bytes = pattern(4096);
  Machine::Copy copy;
  copy.to = bytes.data();
  copy.from = at(block);
  copy.bytes = 4096;
  ASSERT_EQ(machine.copy(0, nullptr, copy), Result::ok);
  EXPECT_EQ(bytes, std::vector<char>(4096));
  const std::vector<char> source = pattern(64);
  copy.from = source.data();
  copy.bytes = 64;
  ASSERT_EQ(machine.copy(0, nullptr, copy), Result::ok);
  EXPECT_EQ(std::memcmp(bytes.data(), source.data(), 64), 0);
}

}  // namespace
}  // namespace gapless::driver::sim

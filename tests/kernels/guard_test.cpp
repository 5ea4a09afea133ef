// SPDX-License-Identifier: Apache-2.0
// The guard kernels' logic against a reference that goes byte by byte.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "cpu/run.hpp"

namespace gapless::kernels {
namespace {

constexpr unsigned char kUntouched = 0x5a;

// Device memory at a device address of its own, as aligned as that address is.
class Memory {
 public:
  Memory(std::uint64_t address, std::size_t bytes) : base_(address & ~7ULL), bytes_(bytes + 64, kUntouched) {}
  unsigned char* at(std::uint64_t address) { return bytes_.data() + (address - base_); }
  const std::vector<unsigned char>& bytes() const { return bytes_; }

 private:
  std::uint64_t base_;
  std::vector<unsigned char> bytes_;
};

gapless_guard_report check(const gapless_guard_range& range, Memory& memory) {
  gapless_guard_report report{~0ULL, 0};
  cpu::run_guard_check(range, memory.at(range.address), report);
  return report;
}

TEST(Guard, FillsExactlyTheRangeAtEveryAlignmentAndSize) {
  for (std::uint64_t shift = 0; shift < 8; ++shift) {
    for (std::uint64_t bytes = 0; bytes <= 40; ++bytes) {
      const gapless_guard_range range{0x7f0000001000 + shift, bytes, 99};
      Memory memory(range.address, 64);
      cpu::run_guard_fill(range, memory.at(range.address));
      for (std::uint64_t address = 0x7f0000001000; address < 0x7f0000001000 + 64; ++address) {
        const bool inside = address >= range.address && address < range.address + bytes;
        ASSERT_EQ(*memory.at(address), inside ? guard_byte(address, 99) : kUntouched)
            << "shift " << shift << " bytes " << bytes << " at +" << address - 0x7f0000001000;
      }
      const gapless_guard_report report = check(range, memory);
      ASSERT_EQ(report.broken_bytes, 0U) << "shift " << shift << " bytes " << bytes;
      ASSERT_EQ(report.first_broken, ~0ULL);
    }
  }
}

TEST(Guard, EveryBrokenByteIsFound) {
  const gapless_guard_range range{0x1003, 61, 5};
  for (std::uint64_t address = range.address; address < range.address + range.bytes; ++address) {
    Memory memory(range.address, 64);
    cpu::run_guard_fill(range, memory.at(range.address));
    *memory.at(address) ^= 1;
    const gapless_guard_report report = check(range, memory);
    EXPECT_EQ(report.first_broken, address);
    EXPECT_EQ(report.broken_bytes, 1U);
  }
}

TEST(Guard, AgreesWithAReferenceOnRandomDamage) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 300; ++round) {
    const gapless_guard_range range{0x10000 + random() % 64, random() % 500, random()};
    Memory memory(range.address, 512);
    cpu::run_guard_fill(range, memory.at(range.address));
    gapless_guard_report expected{~0ULL, 0};
    for (std::uint64_t i = 0; i < range.bytes; ++i) {
      if (random() % 10 != 0) continue;
      const std::uint64_t address = range.address + i;
      *memory.at(address) = static_cast<unsigned char>(random());
      if (*memory.at(address) == guard_byte(address, range.seed)) continue;
      expected.first_broken = std::min(expected.first_broken, address);
      ++expected.broken_bytes;
    }
    const gapless_guard_report report = check(range, memory);
    ASSERT_EQ(report.first_broken, expected.first_broken) << "round " << round;
    ASSERT_EQ(report.broken_bytes, expected.broken_bytes) << "round " << round;
  }
}

TEST(Guard, BytesOfAnotherPlaceOrSeedAreBroken) {
  const gapless_guard_range here{0x2000, 4096, 1};
  Memory memory(here.address, 4096);
  for (const gapless_guard_range other : {gapless_guard_range{0x2000, 4096, 2}, gapless_guard_range{0x3000, 4096, 1}}) {
    cpu::run_guard_fill(other, memory.at(here.address));
    // One byte in 256 is right by chance.
    EXPECT_GT(check(here, memory).broken_bytes, 4000U);
  }
}

TEST(Guard, RangesPast32Bits) {
  const std::uint64_t bytes = 6ULL << 30;
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) GTEST_SKIP() << "no 6 GiB of address space";
  auto* const data = static_cast<unsigned char*>(memory);
  const gapless_guard_range range{0x700000000000, bytes, 4};
  const std::uint64_t words = guard_word_count(range);
  EXPECT_EQ(words, bytes / 8);
  guard_fill_word(range, data, words - 1);
  EXPECT_EQ(data[bytes - 1], guard_byte(range.address + bytes - 1, 4));
  EXPECT_EQ(guard_check_word(range, data, words - 1).broken_bytes, 0U);
  data[bytes - 3] ^= 1;
  EXPECT_EQ(guard_check_word(range, data, words - 1).first_broken, range.address + bytes - 3);
  munmap(memory, bytes);
}

}  // namespace
}  // namespace gapless::kernels

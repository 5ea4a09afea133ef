// SPDX-License-Identifier: Apache-2.0
// The checksum's logic: what it must see, and that it does not depend on where the bytes lie.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <set>
#include <vector>

#include "cpu/run.hpp"

namespace gapless::kernels {
namespace {

// Reads words byte by byte, whatever their alignment.
std::uint64_t reference(const unsigned char* memory, std::uint64_t bytes) {
  std::uint64_t sum = 0;
  for (std::uint64_t at = 0; at < bytes; at += 8) {
    std::uint64_t word = 0;
    const std::uint64_t size = bytes - at < 8 ? bytes - at : 8;
    for (std::uint64_t k = size; k-- > 0;) word = word << 8 | memory[at + k];
    sum += mix(word ^ mix(at / 8 * 9 + size));
  }
  return sum;
}

std::vector<unsigned char> random_bytes(std::size_t count) {
  std::mt19937_64 random(11);
  std::vector<unsigned char> bytes(count);
  for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(random());
  return bytes;
}

TEST(Checksum, AgreesWithTheReferenceAtEveryAlignmentAndSize) {
  const std::vector<unsigned char> bytes = random_bytes(256);
  for (std::size_t shift = 0; shift < 8; ++shift) {
    for (std::size_t size = 0; size <= 100; ++size) {
      ASSERT_EQ(cpu::run_checksum(bytes.data() + shift, size), reference(bytes.data() + shift, size))
          << shift << " " << size;
    }
  }
}

TEST(Checksum, DoesNotDependOnTheAddress) {
  const std::vector<unsigned char> bytes = random_bytes(101);
  std::vector<unsigned char> elsewhere(200);
  for (std::size_t shift = 0; shift < 16; ++shift) {
    std::memcpy(elsewhere.data() + shift, bytes.data(), bytes.size());
    EXPECT_EQ(cpu::run_checksum(elsewhere.data() + shift, bytes.size()), cpu::run_checksum(bytes.data(), bytes.size()));
  }
}

TEST(Checksum, SeesEveryBit) {
  std::vector<unsigned char> bytes = random_bytes(37);
  std::set<std::uint64_t> sums = {cpu::run_checksum(bytes.data(), bytes.size())};
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<unsigned char>(bytes[bit / 8] ^ (1U << (bit % 8)));
    EXPECT_TRUE(sums.insert(cpu::run_checksum(bytes.data(), bytes.size())).second) << "bit " << bit;
    bytes[bit / 8] = static_cast<unsigned char>(bytes[bit / 8] ^ (1U << (bit % 8)));
  }
}

TEST(Checksum, SeesSwapsAndLengths) {
  std::vector<unsigned char> bytes = random_bytes(64);
  const std::uint64_t before = cpu::run_checksum(bytes.data(), 64);
  std::swap_ranges(bytes.begin(), bytes.begin() + 8, bytes.begin() + 8);
  EXPECT_NE(cpu::run_checksum(bytes.data(), 64), before);
  const std::vector<unsigned char> zeros(64);
  std::set<std::uint64_t> sums;
  for (std::size_t size = 1; size <= 64; ++size) sums.insert(cpu::run_checksum(zeros.data(), size));
  EXPECT_EQ(sums.size(), 64U) << "zeros of different lengths differ";
}

TEST(Checksum, RangesPast32Bits) {
  const std::uint64_t bytes = (6ULL << 30) + 3;
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) GTEST_SKIP() << "no 6 GiB of address space";
  auto* const data = static_cast<unsigned char*>(memory);
  const std::uint64_t words = checksum_word_count(bytes);
  EXPECT_EQ(words, (6ULL << 27) + 1);
  EXPECT_EQ(checksum_term(data, bytes, words - 1), mix(0 ^ mix((words - 1) * 9 + 3)));
  data[bytes - 1] = 7;
  EXPECT_EQ(checksum_term(data, bytes, words - 1), mix((7ULL << 16) ^ mix((words - 1) * 9 + 3)));
  munmap(memory, bytes);
}

}  // namespace
}  // namespace gapless::kernels

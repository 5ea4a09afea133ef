// SPDX-License-Identifier: Apache-2.0
// The padding kernels' logic against a reference that pads one sequence after the other.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "cpu/run.hpp"

namespace gapless::kernels {
namespace {

constexpr std::int64_t kPadId = 50256;
constexpr std::int64_t kIgnore = -100;

struct Padded {
  std::vector<std::int64_t> tokens, mask, positions, labels;
  std::vector<std::int32_t> cu_seqlens;
  gapless_pad_error error{-2, -2};
  bool operator==(const Padded& other) const {
    return tokens == other.tokens && mask == other.mask && positions == other.positions && labels == other.labels &&
           cu_seqlens == other.cu_seqlens && error.index == other.error.index && error.length == other.error.length;
  }
};

using Sequences = std::vector<std::vector<std::int64_t>>;

Sequences make_sequences(const std::vector<std::int64_t>& lengths, unsigned seed = 1) {
  std::mt19937_64 random(seed);
  Sequences sequences;
  for (const std::int64_t length : lengths) {
    sequences.emplace_back(static_cast<std::size_t>(length));
    for (std::int64_t& token : sequences.back()) token = static_cast<std::int64_t>(random() % 50000);
  }
  return sequences;
}

Padded reference(const Sequences& sequences, std::size_t length, bool left) {
  Padded out;
  out.error = {-1, 0};
  out.cu_seqlens.push_back(0);
  for (const std::vector<std::int64_t>& sequence : sequences) {
    const std::size_t padding = length - sequence.size();
    const auto append = [&](std::vector<std::int64_t>& to, const std::vector<std::int64_t>& values, std::int64_t pad) {
      if (left) to.insert(to.end(), padding, pad);
      to.insert(to.end(), values.begin(), values.end());
      if (!left) to.insert(to.end(), padding, pad);
    };
    std::vector<std::int64_t> positions(sequence.size());
    std::iota(positions.begin(), positions.end(), 0);
    append(out.tokens, sequence, kPadId);
    append(out.mask, std::vector<std::int64_t>(sequence.size(), 1), 0);
    append(out.positions, positions, 0);
    append(out.labels, sequence, kIgnore);
    out.cu_seqlens.push_back(out.cu_seqlens.back() + static_cast<std::int32_t>(sequence.size()));
  }
  return out;
}

Padded run(const Sequences& sequences, std::int64_t length, bool left) {
  std::vector<std::int64_t> tokens;
  std::vector<std::int64_t> lengths;
  for (const auto& sequence : sequences) {
    tokens.insert(tokens.end(), sequence.begin(), sequence.end());
    lengths.push_back(static_cast<std::int64_t>(sequence.size()));
  }
  const std::size_t cells = sequences.size() * static_cast<std::size_t>(length);
  // Values that no cell should keep.
  Padded out{std::vector<std::int64_t>(cells, -7),
             std::vector<std::int64_t>(cells, -7),
             std::vector<std::int64_t>(cells, -7),
             std::vector<std::int64_t>(cells, -7),
             std::vector<std::int32_t>(sequences.size() + 1, -7),
             {}};
  std::vector<std::int64_t> offsets(sequences.size() + 1);
  gapless_pad_batch batch = GAPLESS_STRUCT(gapless_pad_batch);
  batch.tokens = tokens.data();
  batch.lengths = lengths.data();
  batch.count = static_cast<std::int64_t>(sequences.size());
  batch.length = length;
  batch.pad_id = kPadId;
  batch.ignore_index = kIgnore;
  batch.left = left ? 1 : 0;
  batch.out_tokens = out.tokens.data();
  batch.out_mask = out.mask.data();
  batch.out_positions = out.positions.data();
  batch.out_labels = out.labels.data();
  batch.out_cu_seqlens = out.cu_seqlens.data();
  batch.offsets = offsets.data();
  batch.error = &out.error;
  cpu::run_pad_scan(batch);
  cpu::run_pad_rows(batch);
  return out;
}

class Padding : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Sides, Padding, testing::Bool(),
                         [](const auto& param_info) { return param_info.param ? "Left" : "Right"; });

TEST_P(Padding, RaggedRows) {
  const Sequences sequences = make_sequences({3, 1, 7, 5});
  EXPECT_EQ(run(sequences, 7, GetParam()), reference(sequences, 7, GetParam()));
  EXPECT_EQ(run(sequences, 64, GetParam()), reference(sequences, 64, GetParam()));
}

TEST_P(Padding, EmptySequencesAmongOthers) {
  const Sequences sequences = make_sequences({0, 4, 0, 0, 2, 0});
  EXPECT_EQ(run(sequences, 5, GetParam()), reference(sequences, 5, GetParam()));
}

TEST_P(Padding, ExactlyFullRows) {
  const Sequences sequences = make_sequences({8, 8, 8});
  EXPECT_EQ(run(sequences, 8, GetParam()), reference(sequences, 8, GetParam()));
}

TEST_P(Padding, AnEmptyBatch) {
  EXPECT_EQ(run({}, 16, GetParam()), reference({}, 16, GetParam()));
}

TEST_P(Padding, RowsOfLengthZero) {
  const Sequences sequences = make_sequences({0, 0});
  EXPECT_EQ(run(sequences, 0, GetParam()), reference(sequences, 0, GetParam()));
}

TEST_P(Padding, RandomBatches) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; ++round) {
    const std::int64_t length = static_cast<std::int64_t>(random() % 40);
    std::vector<std::int64_t> lengths(random() % 12);
    for (std::int64_t& one : lengths)
      one = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(length + 1));
    const Sequences sequences = make_sequences(lengths, static_cast<unsigned>(round));
    ASSERT_EQ(run(sequences, length, GetParam()), reference(sequences, static_cast<std::size_t>(length), GetParam()))
        << "round " << round;
  }
}

TEST_P(Padding, OneTooLongIsNamedAndNothingIsCut) {
  const Padded out = run(make_sequences({3, 9, 12, 2}), 8, GetParam());
  EXPECT_EQ(out.error.index, 1) << "the first that does not fit";
  EXPECT_EQ(out.error.length, 9);
  for (const std::int64_t token : out.tokens) EXPECT_EQ(token, kPadId);
  for (const std::int64_t mask : out.mask) EXPECT_EQ(mask, 0);
  for (const std::int64_t label : out.labels) EXPECT_EQ(label, kIgnore);
}

TEST(PadScan, ANegativeLengthIsNamedAndMovesNothing) {
  const std::vector<std::int64_t> lengths = {3, -4, 2};
  std::vector<std::int64_t> offsets(4);
  gapless_pad_error error{};
  gapless_pad_batch batch = GAPLESS_STRUCT(gapless_pad_batch);
  batch.lengths = lengths.data();
  batch.count = 3;
  batch.length = 10;
  batch.offsets = offsets.data();
  batch.error = &error;
  cpu::run_pad_scan(batch);
  EXPECT_EQ(error.index, 1);
  EXPECT_EQ(error.length, -4);
  EXPECT_EQ(offsets, (std::vector<std::int64_t>{0, 3, 3, 5}));
}

TEST(PadScan, OffsetsHave64BitsAndCuSeqlensSaySoWhenTheyDoNot) {
  const std::int64_t big = std::int64_t{1} << 30;
  const std::vector<std::int64_t> lengths = {big, big, big};
  std::vector<std::int64_t> offsets(4);
  std::vector<std::int32_t> cu_seqlens(4);
  gapless_pad_error error{};
  gapless_pad_batch batch = GAPLESS_STRUCT(gapless_pad_batch);
  batch.lengths = lengths.data();
  batch.count = 3;
  batch.length = big;
  batch.offsets = offsets.data();
  batch.error = &error;
  cpu::run_pad_scan(batch);
  EXPECT_EQ(error.index, -1);
  EXPECT_EQ(offsets.back(), 3 * big);
  batch.out_cu_seqlens = cu_seqlens.data();
  cpu::run_pad_scan(batch);
  EXPECT_EQ(error.index, 1) << "2^31 tokens are one more than 32 bits hold";
  EXPECT_EQ(cu_seqlens, (std::vector<std::int32_t>{0, 1 << 30, 2147483647, 2147483647}));
}

// Address space without memory: a page exists once it is written.
class Sparse {
 public:
  explicit Sparse(std::size_t bytes) : bytes_(bytes) {
    void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    data_ = at == MAP_FAILED ? nullptr : at;
  }
  ~Sparse() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  Sparse(const Sparse&) = delete;
  Sparse& operator=(const Sparse&) = delete;
  std::int64_t* data() const { return static_cast<std::int64_t*>(data_); }

 private:
  std::size_t bytes_;
  void* data_;
};

TEST(PadCell, CellsAndTokensPast32Bits) {
  // 5 rows of 2^30 cells; the last row's sequence begins past 2^32 tokens.
  const std::int64_t length = std::int64_t{1} << 30;
  const Sparse tokens(static_cast<std::size_t>(5 * length * 8));
  const Sparse cells(static_cast<std::size_t>(5 * length * 8));
  if (tokens.data() == nullptr || cells.data() == nullptr) GTEST_SKIP() << "no 80 GiB of address space";
  const std::vector<std::int64_t> lengths = {length, length, length, length, 3};
  std::vector<std::int64_t> offsets(6);
  gapless_pad_error error{};
  gapless_pad_batch batch = GAPLESS_STRUCT(gapless_pad_batch);
  batch.tokens = tokens.data();
  batch.lengths = lengths.data();
  batch.count = 5;
  batch.length = length;
  batch.pad_id = kPadId;
  batch.left = 1;
  batch.out_tokens = cells.data();
  batch.offsets = offsets.data();
  batch.error = &error;
  cpu::run_pad_scan(batch);
  ASSERT_EQ(error.index, -1);
  for (std::int64_t i = 0; i < 3; ++i) tokens.data()[4 * length + i] = 100 + i;
  for (const std::int64_t column : {length - 4, length - 3, length - 1}) pad_cell(batch, 4, column, false);
  EXPECT_EQ(cells.data()[5 * length - 4], kPadId);
  EXPECT_EQ(cells.data()[5 * length - 3], 100);
  EXPECT_EQ(cells.data()[5 * length - 1], 102);
}

}  // namespace
}  // namespace gapless::kernels

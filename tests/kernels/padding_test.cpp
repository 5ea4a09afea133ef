// SPDX-License-Identifier: Apache-2.0
// gapless_pad as a program uses it, through gapless.hpp: the library opens the kernels beside itself and they run on
// the simulated device. What padding must give is in pad_test.cpp; here, that all of it arrives.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "gapless/gapless.hpp"
#include "simulation.hpp"

namespace gapless {
namespace {

using Longs = std::vector<std::int64_t>;

class PaddingIntoBuffers : public testing::Test {
 protected:
  ~PaddingIntoBuffers() override {
    EXPECT_TRUE(pool.try_close().has_value());
    EXPECT_TRUE(allocator.try_close().has_value());
  }

  static RaggedBatch ragged(const Longs& tokens, const Longs& lengths, gapless_pad_to to, std::int64_t value) {
    RaggedBatch batch = GAPLESS_STRUCT(gapless_ragged_batch);
    batch.tokens = tokens.data();
    batch.lengths = lengths.data();
    batch.count = static_cast<std::int64_t>(lengths.size());
    batch.to = to;
    batch.value = value;
    batch.pad_id = 9;
    batch.ignore_index = -100;
    batch.outputs = GAPLESS_PADDED_MASK | GAPLESS_PADDED_POSITIONS | GAPLESS_PADDED_LABELS | GAPLESS_PADDED_CU_SEQLENS;
    return batch;
  }
  template <typename T>
  static std::vector<T> read(const T* device, std::int64_t count) {
    std::vector<T> values(static_cast<std::size_t>(count));
    EXPECT_EQ(RUNTIME(cudaMemcpy)(values.data(), device, values.size() * sizeof(T), cudaMemcpyDeviceToHost),
              cudaSuccess);
    return values;
  }
  static OpenOptions plain() {
    OpenOptions options;
    options.read_environment = false;
    return options;
  }

  Allocator allocator = Allocator::open(plain());
  Device gpu = allocator.device(0);
  ConstantPool pool = gpu.make_constant_pool();
  const Longs tokens{11, 12, 13, 21, 31, 32};
  const Longs lengths{3, 1, 2};
};

TEST_F(PaddingIntoBuffers, AllOutputs) {
  const PaddedBatch padded = pool.pad(ragged(tokens, lengths, GAPLESS_PAD_TO_MULTIPLE, 4));
  ASSERT_EQ(padded.rows(), 3);
  ASSERT_EQ(padded.length(), 4);
  EXPECT_EQ(read(padded.tokens(), 12), (Longs{11, 12, 13, 9, 21, 9, 9, 9, 31, 32, 9, 9}));
  EXPECT_EQ(read(padded.mask(), 12), (Longs{1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0, 0}));
  EXPECT_EQ(read(padded.positions(), 12), (Longs{0, 1, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0}));
  EXPECT_EQ(read(padded.labels(), 12), (Longs{11, 12, 13, -100, 21, -100, -100, -100, 31, 32, -100, -100}));
  EXPECT_EQ(read(padded.cu_seqlens(), 4), (std::vector<std::int32_t>{0, 3, 4, 6}));
}

TEST_F(PaddingIntoBuffers, LabelsOfTheirOwnPaddingOnTheLeftAndNothingNotAskedFor) {
  const Longs labels{1, 2, 3, 4, 5, 6};
  RaggedBatch batch = ragged(tokens, lengths, GAPLESS_PAD_TO_LONGEST, 0);
  batch.labels = labels.data();
  batch.left = 1;
  batch.outputs = GAPLESS_PADDED_LABELS;
  const PaddedBatch padded = pool.pad(batch);
  ASSERT_EQ(padded.length(), 3);
  EXPECT_EQ(read(padded.tokens(), 9), (Longs{11, 12, 13, 9, 9, 21, 9, 31, 32}));
  EXPECT_EQ(read(padded.labels(), 9), (Longs{1, 2, 3, -100, -100, 4, -100, 5, 6}));
  EXPECT_EQ(padded.mask(), nullptr);
  EXPECT_EQ(padded.positions(), nullptr);
  EXPECT_EQ(padded.cu_seqlens(), nullptr);
}

TEST_F(PaddingIntoBuffers, AConstantShapeHasTwoAddresses) {
  const std::int64_t* addresses[2] = {};
  for (int step = 0; step < 6; ++step) {
    const PaddedBatch padded = pool.pad(ragged(tokens, lengths, GAPLESS_PAD_TO_LENGTH, 64));
    if (step < 2) addresses[step] = padded.tokens();
    EXPECT_EQ(padded.tokens(), addresses[step % 2]);
    const PaddedBatch last = pool.pad(ragged({1}, {1}, GAPLESS_PAD_TO_LENGTH, 64));
    EXPECT_EQ(last.rows(), 1);
  }
  EXPECT_EQ(pool.stats().classes, 2u);
  EXPECT_EQ(pool.stats().buffers, 4u);
}

TEST_F(PaddingIntoBuffers, PaddingToTheLongestMovesOnlyWhenItGrows) {
  RaggedBatch batch = ragged(tokens, lengths, GAPLESS_PAD_TO_LONGEST, 0);
  pool.reserve(batch, 500);
  const PaddedBatch first = pool.pad(batch);
  const Longs many(500, 3);
  const Longs one{500};
  const PaddedBatch second = pool.pad(ragged(many, one, GAPLESS_PAD_TO_LONGEST, 0));
  EXPECT_EQ(second.length(), 500);
  EXPECT_EQ(pool.stats().classes, 1u);
  EXPECT_EQ(pool.stats().moved, 0u);
}

TEST_F(PaddingIntoBuffers, EmptyBatchesAndEmptySequences) {
  const PaddedBatch none = pool.pad(ragged({}, {}, GAPLESS_PAD_TO_LENGTH, 8));
  EXPECT_EQ(none.rows(), 0);
  EXPECT_EQ(none.length(), 8);
  EXPECT_EQ(read(none.cu_seqlens(), 1), std::vector<std::int32_t>{0});
  const PaddedBatch empty = pool.pad(ragged({}, {0, 0}, GAPLESS_PAD_TO_LENGTH, 2));
  EXPECT_EQ(read(empty.tokens(), 4), (Longs{9, 9, 9, 9}));
  const PaddedBatch flat = pool.pad(ragged({}, {0, 0}, GAPLESS_PAD_TO_LONGEST, 0));
  EXPECT_EQ(flat.length(), 0);
}

TEST_F(PaddingIntoBuffers, TooLongIsNamedAndLeasesNothing) {
  PadError error{};
  const Result<PaddedBatch> refused = pool.try_pad(ragged(tokens, lengths, GAPLESS_PAD_TO_LENGTH, 2), nullptr, &error);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.status(), Status::invalid_argument);
  EXPECT_EQ(refused.failure().detail, "sequence 0 has 3 tokens, rows have 2");
  EXPECT_EQ(error.index, 0);
  EXPECT_EQ(error.length, 3);
  EXPECT_EQ(pool.stats().acquired, 0u);
  RaggedBatch batch = ragged(tokens, {std::int64_t{1} << 31}, GAPLESS_PAD_TO_LONGEST, 0);
  const Longs huge{std::int64_t{1} << 31};
  batch.lengths = huge.data();
  EXPECT_EQ(pool.try_pad(batch, nullptr, &error).status(), Status::invalid_argument);
  EXPECT_EQ(error.length, std::int64_t{1} << 31);
  batch.outputs = 0;
  const Longs endless{std::int64_t{1} << 60};
  batch.lengths = endless.data();
  EXPECT_EQ(pool.try_pad(batch).status(), Status::invalid_argument);
}

TEST_F(PaddingIntoBuffers, AnOutputThatThereIsNotIsRefused) {
  RaggedBatch batch = ragged(tokens, lengths, GAPLESS_PAD_TO_LONGEST, 0);
  batch.outputs = GAPLESS_PADDED_MASK | 64;
  EXPECT_EQ(pool.try_pad(batch).status(), Status::invalid_argument);
  EXPECT_EQ(pool.stats().acquired, 0u);
}

// The device sees whether the reader comes after the padding and the next padding after the reader.
TEST_F(PaddingIntoBuffers, APipelineOverTwoStreams) {
  const auto violations = kernels::find<decltype(gapless_sim_violations)>(kernels::driver, "gapless_sim_violations");
  const std::uint64_t before = violations();
  cudaStream_t copy = nullptr;
  cudaStream_t compute = nullptr;
  for (cudaStream_t* const stream : {&copy, &compute})
    ASSERT_EQ(RUNTIME(cudaStreamCreateWithFlags)(stream, cudaStreamNonBlocking), cudaSuccess);
  const Block sink = gpu.allocate(12 * 8, compute);
  for (int step = 0; step < 8; ++step) {
    PaddedBatch padded = pool.pad(ragged(tokens, lengths, GAPLESS_PAD_TO_LENGTH, 4), copy);
    padded.lease().pass(compute);
    ASSERT_EQ(RUNTIME(cudaMemcpyAsync)(sink.data(), padded.tokens(), 12 * 8, cudaMemcpyDeviceToDevice, compute),
              cudaSuccess);
  }
  EXPECT_EQ(violations(), before);
  for (cudaStream_t const stream : {copy, compute}) {
    ASSERT_EQ(RUNTIME(cudaStreamSynchronize)(stream), cudaSuccess);
    gpu.forget_stream(stream);
    ASSERT_EQ(RUNTIME(cudaStreamDestroy)(stream), cudaSuccess);
  }
}

}  // namespace
}  // namespace gapless

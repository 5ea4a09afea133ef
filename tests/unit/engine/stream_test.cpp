// SPDX-License-Identifier: Apache-2.0
// Memory that changes hands between streams. The machine is strict: an order that is missing is a violation.
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "support/device_work.hpp"

namespace gapless::engine {
namespace {

using testing::DeviceWork;

class StreamTest : public EngineTest {
 protected:
  void open_lazy(std::uint64_t device_bytes, config::Options options = {}) {
    driver::sim::Config config;
    config.completion = driver::sim::Completion::lazy;
    open(device_bytes, options, config);
    work_ = std::make_unique<DeviceWork>(*machine_, 4);
  }
  void TearDown() override {
    EngineTest::TearDown();
    work_.reset();
  }
  void* used(std::uint64_t bytes, std::int32_t stream) {
    void* const block = allocate(bytes, work_->stream(stream));
    work_->write(stream, reinterpret_cast<std::uint64_t>(block), bytes);
    return block;
  }
  std::unique_ptr<DeviceWork> work_;
};

TEST_F(StreamTest, GranulesOfAnotherStreamComeWithAWaitEdge) {
  open_lazy(64 * kMiB);
  free(used(60 * kMiB, 1));
  void* const b = used(50 * kMiB, 2);
  EXPECT_EQ(stats().wait_edges, 1);
  EXPECT_EQ(stats().stalls, 0) << "the host does not wait";
  free(b);
  validate();
}

TEST_F(StreamTest, BackedBlocksAreLent) {
  open_lazy(64 * kMiB);
  free(used(60 * kMiB, 1));
  const std::uint64_t calls = faults_->memory_calls();
  void* const b = used(60 * kMiB, 2);
  EXPECT_EQ(stats().lends, 1);
  EXPECT_EQ(faults_->calls(driver::Call::map), 30u) << "nothing was mapped for it";
  EXPECT_LE(faults_->memory_calls() - calls, 1u) << "at most the reservation of the new stream's heap";
  gapless_block_info info = GAPLESS_STRUCT(gapless_block_info);
  ASSERT_EQ(gapless_block_of(allocator, b, &info), GAPLESS_OK);
  EXPECT_EQ(info.stream, work_->stream(2)) << "the stream that it was handed to";
  free(b);
  // Back in its heap, ordered after the borrower.
  void* const c = used(60 * kMiB, 1);
  free(c);
  validate();
}

TEST_F(StreamTest, ARecordedBlockIsFreeOnlyInTheOrderOfItsUsers) {
  open_lazy(64 * kMiB);
  void* const a = used(40 * kMiB, 1);
  ASSERT_EQ(gapless_record_stream(allocator, a, work_->stream(2)), GAPLESS_OK);
  work_->read_from(2, 1, reinterpret_cast<std::uint64_t>(a), 40 * kMiB);
  free(a);
  EXPECT_EQ(stats().active_bytes[GAPLESS_ALL].current, static_cast<std::int64_t>(40 * kMiB));
  void* const b = used(40 * kMiB, 1);  // needs it: waits on the stream, not on the host
  EXPECT_EQ(stats().stalls, 0);
  free(b);
  validate();
}

TEST_F(StreamTest, RecordingTheOwnStreamIsNothing) {
  open_lazy(64 * kMiB);
  void* const a = used(4 * kMiB, 1);
  ASSERT_EQ(gapless_record_stream(allocator, a, work_->stream(1)), GAPLESS_OK);
  free(a);
  EXPECT_EQ(stats().active_bytes[GAPLESS_ALL].current, 0);
}

TEST_F(StreamTest, BothNamesOfTheLegacyStreamAreOne) {
  open();
  void* const a = allocate(4 * kMiB, nullptr);
  free(a);
  EXPECT_EQ(allocate(4 * kMiB, reinterpret_cast<void*>(1)), a);
  free(a);
}

TEST_F(StreamTest, EachThreadHasItsOwnPerThreadDefaultStream) {
  open(64 * kMiB);
  void* const stream = reinterpret_cast<void*>(2);
  void* const a = allocate(40 * kMiB, stream);
  free(a);
  void* other = nullptr;
  std::thread([&] {
    other = allocate(4 * kMiB, stream);
    free(other);
  }).join();
  EXPECT_NE(other, a) << "the other thread's stream has no order with ours";
  // Its memory can be had, once the host has waited: no thread can record an event on another's default stream.
  void* const b = allocate(64 * kMiB, nullptr);
  free(b);
  validate();
}

TEST_F(StreamTest, AStreamDestroyedBeforeItsBlocks) {
  open(64 * kMiB);
  void* const stream = make_stream();
  void* const a = allocate(40 * kMiB, stream);
  void* const shared = allocate(2 * kMiB);
  ASSERT_EQ(gapless_record_stream(allocator, shared, stream), GAPLESS_OK);
  ASSERT_EQ(gapless_forget_stream(allocator, 0, stream), GAPLESS_OK);
  ASSERT_EQ(machine_->stream_destroy(0, stream), driver::Result::ok);
  free(a);
  free(shared);
  void* const b = allocate(60 * kMiB);
  free(b);
  validate();
}

// Without the word of the program the driver's answer tells, and the device is waited for.
TEST_F(StreamTest, AStreamDestroyedWithoutAWord) {
  open(64 * kMiB);
  void* const stream = make_stream();
  void* const a = allocate(40 * kMiB, stream);
  ASSERT_EQ(machine_->stream_destroy(0, stream), driver::Result::ok);
  free(a);
  void* const b = allocate(60 * kMiB);
  free(b);
  validate();
  EXPECT_GT(machine_->violation_count(), 0u) << "the handle was used";
  ASSERT_EQ(gapless_close(allocator), GAPLESS_OK);
  allocator = nullptr;
}

TEST_F(StreamTest, AThousandShortLivedStreamsLeaveNothingBehind) {
  open(8 * kGiB);
  std::uint64_t after_hundred = 0;
  std::size_t records_after_hundred = 0;
  for (int i = 0; i < 1000; i++) {
    void* const stream = make_stream();
    void* const a = allocate(5 * kMiB, stream);
    void* const b = allocate(5000, stream);
    free(a);
    free(b);
    ASSERT_EQ(gapless_forget_stream(allocator, 0, stream), GAPLESS_OK);
    ASSERT_EQ(machine_->stream_destroy(0, stream), driver::Result::ok);
    if (i == 99) {
      after_hundred = static_cast<std::uint64_t>(stats().reserved_address_bytes);
      records_after_hundred = host_records();
    }
  }
  EXPECT_LE(host_records(), records_after_hundred);
  EXPECT_LE(static_cast<std::uint64_t>(stats().reserved_address_bytes), after_hundred);
  EXPECT_LE(reserved(), 16 * kMiB);
  validate();
}

TEST_F(StreamTest, NoWaitEdgeOnACapturingStream) {
  open_lazy(64 * kMiB);
  free(used(40 * kMiB, 1));
  ASSERT_EQ(machine_->begin_capture(0, work_->stream(2), driver::sim::CaptureMode::global), driver::Result::ok);
  void* out = nullptr;
  // What is known to be over or new may be used, the rest not; either answer is right, an invalidated capture is not.
  const gapless_status status = try_allocate(50 * kMiB, out, work_->stream(2));
  driver::sim::Graph graph = {};
  EXPECT_EQ(machine_->end_capture(0, work_->stream(2), graph), driver::Result::ok) << "the capture was invalidated";
  std::size_t nodes = 1;
  EXPECT_EQ(machine_->graph_node_count(graph, nodes), driver::Result::ok);
  EXPECT_EQ(nodes, 0u);
  EXPECT_EQ(machine_->graph_destroy(graph), driver::Result::ok);
  if (status == GAPLESS_OK) free(out);
  validate();
}

TEST_F(StreamTest, AFreeWhileTheUserCapturesWaitsForTheCaptureToEnd) {
  open(64 * kMiB);
  void* const side = make_stream();
  void* const a = allocate(40 * kMiB);
  ASSERT_EQ(machine_->begin_capture(0, side, driver::sim::CaptureMode::thread_local_), driver::Result::ok);
  ASSERT_EQ(gapless_record_stream(allocator, a, side), GAPLESS_OK);
  free(a);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(60 * kMiB, out), GAPLESS_ERROR_OUT_OF_MEMORY) << "the graph may still use the block";
  driver::sim::Graph graph = {};
  ASSERT_EQ(machine_->end_capture(0, side, graph), driver::Result::ok);
  EXPECT_EQ(machine_->graph_destroy(graph), driver::Result::ok);
  ASSERT_EQ(try_allocate(60 * kMiB, out), GAPLESS_OK) << gapless_last_error();
  free(out);
  validate();
}

// Epochs are 32 bits. Before they run out the device is waited for once and they start again.
// What the legacy default stream used last cannot be waited for while a stream that synchronises with it captures: an
// event recorded on it would break the capture.
TEST_F(StreamTest, ABlockingStreamsCaptureIsNotBrokenByMemoryOfTheLegacyStream) {
  open_lazy(64 * kMiB);
  void* const recorded = allocate(4 * kMiB, work_->stream(1));
  ASSERT_EQ(gapless_record_stream(allocator, recorded, nullptr), GAPLESS_OK);
  free(used(40 * kMiB, 0));
  driver::Stream blocking = nullptr;
  ASSERT_EQ(machine_->stream_create(0, {}, blocking), driver::Result::ok);
  ASSERT_EQ(machine_->begin_capture(0, blocking, driver::sim::CaptureMode::relaxed), driver::Result::ok);
  free(recorded);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(60 * kMiB, out, work_->stream(2)), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, nullptr), GAPLESS_OK);
  driver::sim::Graph graph = nullptr;
  EXPECT_EQ(machine_->end_capture(0, blocking, graph), driver::Result::ok);
  EXPECT_EQ(machine_->graph_destroy(graph), driver::Result::ok);
  EXPECT_EQ(machine_->violation_count(), 0u);
  void* const b = used(60 * kMiB, 2);
  free(b);
  validate();
}

// Only the whole device can tell when another thread's own default stream is done with a block; asking it would break
// a capture, of whatever stream gapless knows.
TEST_F(StreamTest, TheDeviceIsNotWaitedForWhileAStreamCaptures) {
  for (const bool allocated : {true, false}) {
    open_lazy(64 * kMiB);
    void* const a = allocate(4 * kMiB);
    std::thread([&] { ASSERT_EQ(gapless_record_stream(allocator, a, reinterpret_cast<void*>(2)), GAPLESS_OK); }).join();
    const driver::Stream stream = work_->stream(1);
    void* const b = allocate(4 * kMiB, allocated ? stream : nullptr);
    ASSERT_EQ(gapless_record_stream(allocator, b, stream), GAPLESS_OK);
    ASSERT_EQ(machine_->begin_capture(0, stream, driver::sim::CaptureMode::relaxed), driver::Result::ok);
    free(a);
    EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, nullptr), GAPLESS_OK);
    allocator->engine->for_each_device(
        [&](DeviceAllocator& one) { EXPECT_EQ(one.wait_for_device(), Status::in_capture); });
    driver::sim::Graph graph = nullptr;
    EXPECT_EQ(machine_->end_capture(0, stream, graph), driver::Result::ok);
    EXPECT_EQ(machine_->graph_destroy(graph), driver::Result::ok);
    EXPECT_EQ(machine_->violation_count(), 0u);
    EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, nullptr), GAPLESS_OK);
    EXPECT_EQ(stats().active_bytes[GAPLESS_ALL].current, static_cast<std::int64_t>(4 * kMiB));
    free(b);
    if (!allocated) break;
    TearDown();
    allocator = nullptr;
  }
}

TEST_F(StreamTest, EpochsStartAgainBeforeTheyRunOut) {
  config::Options options;
  options.lending = false;
  open_lazy(64 * kMiB, options);
  free(used(40 * kMiB, 1));
  free(used(40 * kMiB, 2));
  allocator->engine->for_each_device([](DeviceAllocator& one) {
    for (const auto& stream : one.state().streams)
      stream::StreamTestAccess::set_epoch(*stream, stream::StreamOrder::kRenumberAt - 3);
  });
  void* const live = used(2 * kMiB, 1);
  for (int i = 0; i < 20; i++) free(used(60 * kMiB, 1 + i % 2));
  allocator->engine->for_each_device([](DeviceAllocator& one) {
    for (const auto& stream : one.state().streams) EXPECT_LT(stream->epoch(), 100u);
  });
  EXPECT_GT(stats().wait_edges, 10) << "streams still hand memory over by waiting for each other";
  free(live);
  validate();
}

// A new stream may have the handle of one that is gone.
TEST_F(StreamTest, ABlockOutlivesItsStreamAndIsUsedByItsNamesake) {
  config::Options options;
  options.lending = false;
  open_lazy(64 * kMiB, options);
  void* const a = allocate(40 * kMiB, work_->stream(1));
  ASSERT_EQ(gapless_forget_stream(allocator, 0, work_->stream(1)), GAPLESS_OK);
  ASSERT_EQ(gapless_record_stream(allocator, a, work_->stream(1)), GAPLESS_OK);
  work_->write(1, reinterpret_cast<std::uint64_t>(a), 40 * kMiB);
  free(a);
  free(used(45 * kMiB, 2));
  validate();
}

}  // namespace
}  // namespace gapless::engine

// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "fixture.hpp"

namespace gapless::test {
namespace {

using SnapshotTest = SimulatedDevice;

TEST_F(SnapshotTest, BlocksTileTheirSegments) {
  const Block small = gpu.allocate(1000);
  const Block large = gpu.allocate(3 * kMiB);
  const Snapshot snapshot = gpu.snapshot();
  ASSERT_FALSE(snapshot.segments.empty());
  std::size_t live = 0;
  for (const Snapshot::Segment& segment : snapshot.segments) {
    std::uint64_t next = segment.address;
    for (const Snapshot::Block& block : segment.blocks) {
      EXPECT_EQ(block.address, next);
      next += block.bytes;
      if (block.state == Snapshot::State::allocated) ++live;
    }
    EXPECT_EQ(next, segment.address + segment.bytes);
    EXPECT_EQ(segment.device, 0);
  }
  EXPECT_EQ(live, 2U);
  EXPECT_TRUE(allocator.device(1).snapshot().segments.empty());
}

TEST(SnapshotJson, HasPyTorchsKeys) {
  Snapshot snapshot;
  snapshot.segments.push_back({0x1000, 2048, 0, true, true, nullptr, {0, 7}, {}});
  snapshot.segments[0].blocks = {{0x1000, 512, 500, Snapshot::State::allocated, 0},
                                 {0x1200, 512, 400, Snapshot::State::pending_free, 0},
                                 {0x1400, 1024, 0, Snapshot::State::free, 0}};
  std::ostringstream out;
  write_json(out, snapshot);
  EXPECT_EQ(out.str(),
            "{\"segments\": [\n"
            "{\"device\": 0, \"address\": 4096, \"total_size\": 2048, \"allocated_size\": 512, \"active_size\": 1024, "
            "\"requested_size\": 900, \"stream\": 0, \"segment_type\": \"small\", \"segment_pool_id\": [0, 7], "
            "\"is_expandable\": true, \"blocks\": ["
            "{\"address\": 4096, \"size\": 512, \"requested_size\": 500, \"state\": \"active_allocated\"}, "
            "{\"address\": 4608, \"size\": 512, \"requested_size\": 400, \"state\": \"active_pending_free\"}, "
            "{\"address\": 5120, \"size\": 1024, \"requested_size\": 0, \"state\": \"inactive\"}]}\n"
            "]}\n");
}

TEST(SnapshotJson, GoesToAFileOrSaysWhyNot) {
  const std::string path = testing::TempDir() + "gapless_snapshot_test.json";
  write_json_file(path, Snapshot{});
  std::ifstream in(path);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), "{\"segments\": [\n]}\n");
  std::filesystem::remove(path);
  EXPECT_EQ(try_write_json_file(testing::TempDir() + "no/such/folder/x.json", {}),
            std::errc::no_such_file_or_directory);
  EXPECT_THROW(write_json_file(testing::TempDir() + "no/such/folder/x.json", {}), std::system_error);
  if (std::filesystem::exists("/dev/full")) {
    EXPECT_EQ(try_write_json_file("/dev/full", {}), std::errc::no_space_on_device);
  }
}

}  // namespace
}  // namespace gapless::test

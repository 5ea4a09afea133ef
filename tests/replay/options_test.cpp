// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/options.hpp"

#include <gtest/gtest.h>

namespace gapless::tools {
namespace {

TEST(ReplayOptions, DefaultsAreAmpleAndEager) {
  const Options options = parse_options({"x.trace.gz"});
  EXPECT_EQ(options.allocators, std::vector{AllocatorKind::gapless});
  EXPECT_EQ(options.size, std::uint64_t{1} << 40);
  EXPECT_EQ(options.completion, "eager");
  EXPECT_FALSE(options.min_fit);
}

TEST(ReplayOptions, ReadsBothFormsOfValues) {
  const Options options = parse_options({"--allocator", "native,expandable", "--size=80GiB", "--min-fit=1:1.2:0.01",
                                         "--seed", "7", "--strict", "--first=5%", "a", "--", "--b"});
  EXPECT_EQ(options.allocators, (std::vector{AllocatorKind::native, AllocatorKind::expandable}));
  EXPECT_EQ(options.size, 80ull << 30);
  EXPECT_DOUBLE_EQ(options.grid.high, 1.2);
  EXPECT_EQ(options.seed, 7u);
  EXPECT_TRUE(options.strict);
  EXPECT_EQ(options.traces, (std::vector<std::string>{"a", "--b"}));
}

TEST(ReplayOptions, RefusesWhatMakesNoSense) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"--allocator", "mimalloc", "t"},
      {"--allocator=", "t"},
      {"--size", "80 pounds", "t"},
      {"--size"},
      {"--first", "0%", "t"},
      {"--first", "x", "t"},
      {"--min-fit=1.05:1:0.1", "t"},
      {"--min-fit=1:1.05", "t"},
      {"--json=yes", "t"},
      {"--no-such-option", "t"},
      {"--jobs", "0", "t"},
      {"--log", "l", "t", "u"},
      {"--log", "l", "--allocator", "native,gapless", "t"},
  };
  for (const auto& arguments : wrong) {
    EXPECT_THROW(parse_options(arguments), UsageError) << ::testing::PrintToString(arguments);
  }
}

TEST(ReplayOptions, SizesHaveUnits) {
  EXPECT_EQ(parse_bytes("12345"), 12345u);
  EXPECT_EQ(parse_bytes("1K"), 1024u);
  EXPECT_EQ(parse_bytes("1.5MiB"), 3u << 19);
  EXPECT_EQ(parse_bytes("1TiB"), 1ull << 40);
  for (const char* wrong : {"", "GiB", "-1", "1X", "1GiBx", "nan", "1iB"})
    EXPECT_THROW(parse_bytes(wrong), UsageError) << wrong;
}

}  // namespace
}  // namespace gapless::tools

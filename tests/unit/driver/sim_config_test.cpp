// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "driver/sim/config.hpp"

namespace gapless::driver::sim {
namespace {

TEST(SimConfig, ReadsWhatGaplessSimPasses) {
  Config config;
  std::string why;
  ASSERT_TRUE(parse_config("size=40GiB,devices=2,other=512MiB,seed=7,completion=lag:20,strict=1,stats=/tmp/a,b=c.json",
                           config, why))
      << why;
  EXPECT_EQ(config.size, 40ull << 30);
  EXPECT_EQ(config.devices, 2);
  EXPECT_EQ(config.other, 512ull << 20);
  EXPECT_EQ(config.seed, 7u);
  EXPECT_EQ(config.completion, Completion::lag);
  EXPECT_EQ(config.lag, 20u);
  EXPECT_TRUE(config.strict);
  EXPECT_EQ(config.stats, "/tmp/a,b=c.json");
}

TEST(SimConfig, FormatIsTheInverse) {
  for (const char* completion : {"eager", "lazy", "random:9", "lag:0", "lag:1000", "manual"}) {
    Config config;
    config.size = 123ull << 21;
    config.other = 77;
    config.strict = config.sticky = true;
    config.free_orders = false;
    ASSERT_TRUE(parse_completion(completion, config));
    Config again;
    std::string why;
    ASSERT_TRUE(parse_config(format_config(config), again, why)) << why;
    EXPECT_EQ(format_config(again), format_config(config));
    EXPECT_EQ(again.seed, config.seed);
    EXPECT_EQ(again.completion, config.completion);
    EXPECT_EQ(again.lag, config.lag);
  }
}

TEST(SimConfig, ABadTextChangesNothingAndNamesTheKey) {
  for (const char* text : {"size", "size=", "size=4XB", "size=4Gi", "devices=0", "devices=65", "strict=2",
                           "completion=lag", "completion=eager:1", "colour=blue", "seed=-1", "size=1e30"}) {
    Config config;
    const std::string before = format_config(config);
    std::string why;
    EXPECT_FALSE(parse_config(text, config, why)) << text;
    EXPECT_NE(why.find(std::string(text).substr(0, 4)), std::string::npos) << why;
    EXPECT_EQ(format_config(config), before);
  }
}

TEST(SimConfig, Sizes) {
  const auto size = [](const char* text) {
    std::uint64_t out = 0;
    return parse_size(text, out) ? out : ~0ull;
  };
  EXPECT_EQ(size("0"), 0u);
  EXPECT_EQ(size("1024"), 1024u);
  EXPECT_EQ(size("1.5GiB"), 3ull << 29);
  EXPECT_EQ(size("2m"), 2ull << 20);
  EXPECT_EQ(size("1TiB"), 1ull << 40);
  EXPECT_EQ(size("12B"), 12u);
  EXPECT_EQ(size("-1"), ~0ull);
  EXPECT_EQ(size("G"), ~0ull);
}

}  // namespace
}  // namespace gapless::driver::sim

// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/result.hpp"

#include <gtest/gtest.h>

#include "tools/replay/report.hpp"

namespace gapless::tools {
namespace {

ReplayResult sample() {
  ReplayResult result;
  result.name = "a \"name\"";
  result.allocator = AllocatorKind::expandable;
  result.peak_live = 1000;
  result.peak_reserved = 1500;
  result.completed = true;
  result.driver_calls = {{"cuMemCreate", 3}, {"cuMemMap", 4}};
  result.steps = {{7, 1.5, 2.5}, {0, 0, 0}};
  result.error = "line\nbreak";
  return result;
}

TEST(ReplayResult, CrossesProcessesUnchanged) {
  const ReplayResult before = sample();
  const ReplayResult after = deserialize(serialize(before));
  EXPECT_EQ(json_line(before, true), json_line(after, true));
  EXPECT_EQ(after.steps.size(), 2u);
  EXPECT_EQ(after.steps[0].create_us, 2.5);
}

TEST(ReplayResult, ShortBytesAreAnError) {
  const std::string bytes = serialize(sample());
  for (std::size_t length = 0; length < bytes.size(); length += 3) {
    EXPECT_THROW(deserialize(bytes.substr(0, length)), std::runtime_error);
  }
}

TEST(ReplayResult, JsonHasTheKeysThatOthersRelyOn) {
  const std::string json = json_line(sample(), true);
  for (const char* key :
       {"name", "allocator", "size", "peak_live", "peak_reserved", "ratio", "completed", "ooms", "driver_calls",
        "driver_calls_steady", "violations", "ns_per_pair", "min_fit", "modelled_driver_us_first",
        "modelled_remap_us_steady", "modelled_create_us_steady", "stalls"}) {
    EXPECT_NE(json.find("\"" + std::string(key) + "\": "), std::string::npos) << key;
  }
  EXPECT_NE(json.find("\"ratio\": 1.500000"), std::string::npos);
  EXPECT_NE(json.find("a \\\"name\\\""), std::string::npos);
  EXPECT_NE(json.find("line\\u000abreak"), std::string::npos);
}

TEST(ReplayResult, NoRatioOfARunThatDidNotComplete) {
  ReplayResult result = sample();
  result.completed = false;
  result.error = "out of memory: no room";
  EXPECT_NE(json_line(result, false).find("\"ratio\": null"), std::string::npos);
  const std::string line = table_line(result);
  EXPECT_EQ(line.find("1.5000"), std::string::npos) << line;
  EXPECT_NE(line.find("NOT COMPLETED: out of memory: no room"), std::string::npos) << line;
  result.completed = true;
  EXPECT_NE(table_line(result).find("1.5000"), std::string::npos);
}

}  // namespace
}  // namespace gapless::tools

// SPDX-License-Identifier: Apache-2.0
#include "config/options.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "config/nearest.hpp"

namespace gapless::config {
namespace {

TEST(ConfigOptions, TableIsSound) {
  const Options defaults;
  std::set<std::string_view> names, sections;
  std::string_view section;
  for (const OptionInfo& option : option_table()) {
    EXPECT_TRUE(names.insert(option.name).second) << option.name;
    EXPECT_TRUE(std::all_of(option.name.begin(), option.name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || c == '_' || (c >= '0' && c <= '9');
    })) << option.name;
    EXPECT_FALSE(option.help.empty()) << option.name;
    EXPECT_FALSE(option.values().empty()) << option.name;
    if (option.section != section) {
      EXPECT_TRUE(sections.insert(option.section).second) << "section in two pieces";
    }
    section = option.section;

    // Every default is a legal value of its own option, and reads back.
    Options options;
    EXPECT_EQ(option.set(options, option.get(defaults)), "") << option.name;
    EXPECT_TRUE(options == defaults) << option.name;
  }
}

TEST(ConfigOptions, SetAndGetByName) {
  Options options;
  EXPECT_EQ(set_option(options, "slack", "1.02").status, SetStatus::ok);
  EXPECT_EQ(options.slack, 1.02);
  std::string text;
  EXPECT_TRUE(get_option(options, "slack", text));
  EXPECT_EQ(text, "1.02");
  EXPECT_FALSE(get_option(options, "slak", text));
  EXPECT_EQ(text, "1.02");
}

TEST(ConfigOptions, RefusalsChangeNothing) {
  Options options;
  const SetResult bad = set_option(options, "slack", "0.5");
  EXPECT_EQ(bad.status, SetStatus::bad_value);
  EXPECT_EQ(bad.text, "slack: '0.5' must be a number from 1 to 4");
  const SetResult unknown = set_option(options, "slak", "1.02");
  EXPECT_EQ(unknown.status, SetStatus::unknown_name);
  EXPECT_EQ(unknown.text, "'slak' is not an option; did you mean 'slack'?");
  EXPECT_EQ(set_option(options, "", "").text, "'' is not an option");
  EXPECT_EQ(set_option(options, "granule", "4MiB").status, SetStatus::only_at_open);
  EXPECT_EQ(set_option(options, "pytorch_alloc_conf", "max_split_size_mb:1").status, SetStatus::bad_value);
  EXPECT_TRUE(options == Options{});
}

TEST(ConfigOptions, PlannedOptionsSaySo) {
  for (const OptionInfo& option : option_table()) {
    if (option.state != State::planned || option.when != When::any_time) continue;
    Options options;
    const SetResult result = set_option(options, option.name, option.get(options));
    EXPECT_EQ(result.status, SetStatus::no_effect) << option.name;
    EXPECT_NE(result.text.find("no effect"), std::string::npos) << result.text;
  }
}

TEST(ConfigOptions, WholePytorchString) {
  Options options;
  EXPECT_EQ(set_option(options, "pytorch_alloc_conf", "max_split_size_mb:100,roundup_power2_divisions:8").status,
            SetStatus::ok);
  EXPECT_EQ(options.pytorch.max_split_size, 100 * kMiB);
  EXPECT_EQ(options.roundup_power2_divisions.of(kGiB), 8u);
  std::string text;
  EXPECT_TRUE(get_option(options, "pytorch_alloc_conf", text));
  EXPECT_EQ(text, "max_split_size_mb:100,roundup_power2_divisions:8");
  EXPECT_EQ(set_option(options, "pytorch_alloc_conf", "roundup_power2_divisions:4").text, "");
  const SetResult noted = set_option(options, "pytorch_alloc_conf", "expandable_segments:False,max_split_size_mb:100");
  EXPECT_EQ(noted.status, SetStatus::ok);
  EXPECT_NE(noted.text.find("max_split_size_mb has no effect"), std::string::npos) << noted.text;
  EXPECT_NE(noted.text.find("\n"), std::string::npos) << "a line for each key: " << noted.text;
}

TEST(ConfigNearest, Distance) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("slack", ""), 5u);
  EXPECT_EQ(edit_distance("", "slack"), 5u);
  EXPECT_EQ(edit_distance("slack", "slack"), 0u);
  EXPECT_EQ(edit_distance("slakc", "slack"), 1u);
  EXPECT_EQ(edit_distance("Eager-Unmap", "eager_unmap"), 0u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(ConfigNearest, OnlyWhatIsNear) {
  EXPECT_EQ(nearest_option("eager-unmap"), "eager_unmap");
  EXPECT_EQ(nearest_option("lend"), "");
  EXPECT_EQ(nearest_option("landing"), "lending");
  EXPECT_EQ(nearest_option("granularity"), "");
  EXPECT_EQ(nearest_option("x"), "");
  EXPECT_EQ(nearest_option(std::string(1 << 20, 's')), "");
}

TEST(ConfigNearest, MessagesHoldNoControlCharacters) {
  EXPECT_EQ(printable("a\x1b[31mb\n"), "a?[31mb?");
  EXPECT_EQ(printable(std::string(100, 'x')).size(), 67u);
}

}  // namespace
}  // namespace gapless::config

// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "config/load.hpp"

namespace gapless::config {
namespace {

struct Parsed {
  Options options;
  Messages messages;
};

Parsed parse_conf(std::string_view text) {
  Parsed parsed;
  parse_gapless_conf(text, "GAPLESS_CONF", parsed.options, parsed.messages);
  return parsed;
}

std::string only_text(const Parsed& parsed) {
  EXPECT_EQ(parsed.messages.size(), 1u);
  return parsed.messages.empty() ? "" : parsed.messages[0].text;
}

TEST(GaplessConf, ItemsInAnyOrderWithSpace) {
  const Parsed parsed =
      parse_conf(" slack : 1.02 ,lending:false,, granule:4MiB ,roundup_power2_divisions:[256:1, >:8],");
  EXPECT_TRUE(parsed.messages.empty()) << parsed.messages[0].text;
  EXPECT_EQ(parsed.options.slack, 1.02);
  EXPECT_FALSE(parsed.options.lending);
  EXPECT_EQ(parsed.options.granule, 4 * kMiB);
  EXPECT_EQ(parsed.options.roundup_power2_divisions.of(kGiB), 8u);
  EXPECT_EQ(parsed.options.roundup_power2_divisions.of(100 * kMiB), 1u);
}

TEST(GaplessConf, EmptyTextsAreNothing) {
  for (const char* text : {"", " ", ",", " , ,,"}) {
    const Parsed parsed = parse_conf(text);
    EXPECT_TRUE(parsed.messages.empty()) << text;
    EXPECT_TRUE(parsed.options == Options{}) << text;
  }
}

TEST(GaplessConf, EachItemStandsAlone) {
  const Parsed parsed = parse_conf("slack:9,lending:false");
  EXPECT_EQ(only_text(parsed), "GAPLESS_CONF: slack: '9' must be a number from 1 to 4; it stays 1.01");
  EXPECT_EQ(parsed.options.slack, 1.01);
  EXPECT_FALSE(parsed.options.lending);
}

TEST(GaplessConf, TheLastMentionWins) {
  EXPECT_EQ(parse_conf("slack:2,slack:3").options.slack, 3);
}

TEST(GaplessConf, WrongShapes) {
  EXPECT_EQ(only_text(parse_conf("slak:1.02")), "GAPLESS_CONF: 'slak' is not an option; did you mean 'slack'?");
  EXPECT_EQ(only_text(parse_conf("slack")), "GAPLESS_CONF: 'slack' has no value: write slack:VALUE");
  EXPECT_EQ(only_text(parse_conf("slack=1.02")), "GAPLESS_CONF: 'slack=1.02' is not an option; a name and its value are joined by a colon: 'slack:1.02'");
  EXPECT_EQ(only_text(parse_conf(":1")), "GAPLESS_CONF: '' is not an option");
  EXPECT_EQ(only_text(parse_conf("slack:")), "GAPLESS_CONF: slack: '' must be a number from 1 to 4; it stays 1.01");
  EXPECT_EQ(only_text(parse_conf("slack:[1.02,lending:false")),
            "GAPLESS_CONF: 'slack:[1.02,lending:false': brackets do not pair");
  EXPECT_EQ(only_text(parse_conf("slack:1.02]")), "GAPLESS_CONF: 'slack:1.02]': brackets do not pair");
}

TEST(GaplessConf, BadTextsCannotFloodTheLog) {
  std::string text;
  for (int i = 0; i < 10000; ++i) text += "nonsense,";
  const Parsed parsed = parse_conf(text.substr(0, 60000));
  EXPECT_EQ(parsed.messages.size(), 17u);
  EXPECT_EQ(parsed.messages.back().text, "GAPLESS_CONF: more of the same is not shown");
  EXPECT_EQ(only_text(parse_conf(std::string(70000, '['))), "GAPLESS_CONF: longer than 64 KiB, ignored");
}

TEST(GaplessConf, PlannedOptionsAreNoted) {
  for (const OptionInfo& option : option_table()) {
    const Parsed parsed = parse_conf(std::string(option.name) + ":" + option.get(Options{}));
    const bool planned = option.state == State::planned;
    EXPECT_EQ(parsed.messages.size(), planned ? 1u : 0u) << option.name;
    if (planned) {
      EXPECT_EQ(parsed.messages.at(0).severity, Severity::note);
    }
  }
}

}  // namespace
}  // namespace gapless::config

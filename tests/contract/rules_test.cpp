// SPDX-License-Identifier: Apache-2.0
// Every rule of docs/driver_contract.md has a program that breaks it and is reported by its number, and only by that,
// and a twin that passes; under every schedule, because a rule is about order and not about luck.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>

#include "contract/world.hpp"

namespace gapless::contract {
namespace {

std::vector<Case> all_rules() {
  std::vector<Case> all;
  for (const auto& some : {memory_rules(), sharing_rules(), stream_rules(), capture_rules(), use_rules()})
    all.insert(all.end(), some.begin(), some.end());
  return all;
}

// The page's table: rule to who enforces it.
std::map<std::string, std::string> rules_of_page() {
  std::ifstream page(GAPLESS_CONTRACT_PAGE);
  EXPECT_TRUE(page) << GAPLESS_CONTRACT_PAGE;
  const std::regex row(R"(^\| ([A-Z]+-[0-9]+) \| ([a-z, ]+) \|.*)");
  std::map<std::string, std::string> rules;
  for (std::string line; std::getline(page, line);) {
    std::smatch match;
    if (std::regex_match(line, match, row)) rules[match[1]] = match[2];
  }
  return rules;
}

bool enforced_by(const std::string& rule, const char* who) {
  static const std::map<std::string, std::string> page = rules_of_page();
  const auto it = page.find(rule);
  return it != page.end() && it->second.find(who) != std::string::npos;
}

driver::sim::Config configured(const Case& rule, const std::string& completion) {
  driver::sim::Config config;
  EXPECT_TRUE(driver::sim::parse_completion(completion, config));
  if (rule.configure != nullptr) rule.configure(config);
  return config;
}

TEST(DriverContract, PageAndProgramsNameTheSameRules) {
  std::set<std::string> page;
  for (const auto& [rule, who] : rules_of_page()) page.insert(rule);
  std::set<std::string> programs;
  for (const Case& rule : all_rules()) programs.insert(rule.rule);
  EXPECT_EQ(page, programs);
  EXPECT_GT(page.size(), 30u);
}

class Rule : public testing::TestWithParam<std::tuple<Case, std::string>> {};

// What the page says of who enforces a rule holds both ways.
std::set<std::string> expected(const Case& rule, const char* who) {
  return enforced_by(rule.rule, who) ? std::set<std::string>{rule.rule} : std::set<std::string>{};
}

TEST_P(Rule, IsReportedByTheDeviceWhenBroken) {
  const auto& [rule, completion] = GetParam();
  World w(configured(rule, completion));
  rule.breaks(w);
  EXPECT_EQ(w.rules_of_device(), expected(rule, "device"));
}

TEST_P(Rule, IsReportedByCheckedWhenBroken) {
  const auto& [rule, completion] = GetParam();
  World w(configured(rule, completion), true);
  rule.breaks(w);
  EXPECT_EQ(w.rules_of_checked(), expected(rule, "checked"));
  if (enforced_by(rule.rule, "checked")) {
    EXPECT_TRUE(w.rules_of_device().empty()) << "a refused call reached the device";
  }
}

TEST_P(Rule, TwinPasses) {
  const auto& [rule, completion] = GetParam();
  for (const bool checked : {false, true}) {
    World w(configured(rule, completion), checked);
    rule.keeps(w);
    EXPECT_TRUE(w.rules_of_device().empty()) << *w.rules_of_device().begin() << ": " << w.machine.violations()[0].text;
    EXPECT_TRUE(w.rules_of_checked().empty()) << *w.rules_of_checked().begin();
  }
}

std::string name_of(const testing::TestParamInfo<std::tuple<Case, std::string>>& info) {
  const Case& rule = std::get<0>(info.param);
  std::string name = std::string(rule.rule) + rule.way + "_" + std::get<1>(info.param);
  for (char& c : name) {
    if (c == '-' || c == ':') c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Contract, Rule,
                         testing::Combine(testing::ValuesIn(all_rules()),
                                          testing::Values("eager", "lazy", "lag:3", "manual", "random:1", "random:2",
                                                          "random:3")),
                         name_of);

}  // namespace
}  // namespace gapless::contract

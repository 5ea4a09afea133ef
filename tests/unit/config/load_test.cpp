// SPDX-License-Identifier: Apache-2.0
#include "config/load.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace gapless::config {
namespace {

std::map<std::string, std::string> environment;  // a GetEnv has no place for a context

const char* get_env(const char* name) {
  const auto found = environment.find(name);
  return found == environment.end() ? nullptr : found->second.c_str();
}

class ConfigLoad : public ::testing::Test {
 protected:
  void TearDown() override { environment.clear(); }
};

TEST_F(ConfigLoad, NothingSetIsTheDefaults) {
  const Loaded loaded = load_options(&get_env, nullptr, nullptr);
  EXPECT_TRUE(loaded.options == Options{});
  EXPECT_TRUE(loaded.messages.empty());
}

TEST_F(ConfigLoad, LaterSourcesWin) {
  environment = {{"PYTORCH_CUDA_ALLOC_CONF", "gapless_slack:1.02,per_process_memory_fraction:0.5"}};
  EXPECT_EQ(load_options(&get_env, nullptr, nullptr).options.slack, 1.02);
  EXPECT_EQ(load_options(&get_env, nullptr, nullptr).options.memory_fraction, 0.5);
  environment["GAPLESS_CONF"] = "slack:1.03";
  EXPECT_EQ(load_options(&get_env, nullptr, nullptr).options.slack, 1.03);
  EXPECT_EQ(load_options(&get_env, "slack:1.04", nullptr).options.slack, 1.04);
  EXPECT_EQ(load_options(nullptr, "slack:1.04", nullptr).options.memory_fraction, 1.0);
}

TEST_F(ConfigLoad, CudaNameHidesTheGenericOne) {
  environment = {{"PYTORCH_ALLOC_CONF", "max_split_size_mb:100"}};
  EXPECT_EQ(load_options(&get_env, nullptr, nullptr).options.pytorch.max_split_size, 100 * kMiB);
  environment["PYTORCH_CUDA_ALLOC_CONF"] = "";  // set, though empty
  const Loaded loaded = load_options(&get_env, nullptr, nullptr);
  EXPECT_EQ(loaded.options.pytorch.max_split_size, kUnlimited);
  ASSERT_EQ(loaded.messages.size(), 1u);
  EXPECT_EQ(loaded.messages[0].text,
            "PYTORCH_ALLOC_CONF is ignored, as PyTorch does while PYTORCH_CUDA_ALLOC_CONF is set");
}

TEST_F(ConfigLoad, OnlyArgumentsDecideWhetherArgumentsAreOk) {
  environment = {{"GAPLESS_CONF", "slak:1"}};
  bool ok = false;
  EXPECT_EQ(load_options(&get_env, "slack:1.04", &ok).messages.size(), 1u);
  EXPECT_TRUE(ok);
  load_options(nullptr, "slack:0", &ok);
  EXPECT_FALSE(ok);
  load_options(nullptr, "stream_sharing:on", &ok);  // a note at most
  EXPECT_TRUE(ok);
}

}  // namespace
}  // namespace gapless::config

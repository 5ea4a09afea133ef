// SPDX-License-Identifier: Apache-2.0
// pytorch_2.11.tsv holds what the parser of the torch 2.11.0 wheel answers (record_pytorch_conf.cpp made it).
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "config/load.hpp"

namespace gapless::config {
namespace {

std::string state_text(const Options& options) {
  std::ostringstream out;
  for (const Size divisions : options.roundup_power2_divisions.by_interval) out << divisions << ',';
  const PytorchSettings& p = options.pytorch;
  out << '\t' << p.max_split_size << ' ' << p.max_non_split_rounding_size << ' ' << p.large_segment_size << ' '
      << p.garbage_collection_threshold << ' ' << p.expandable_segments << ' ' << options.memory_fraction << ' '
      << p.release_lock_on_cudamalloc << ' ' << p.graph_capture_record_stream_reuse;
  return out.str();
}

std::string error_of(const Messages& messages) {
  for (const Message& message : messages) {
    if (message.severity == Severity::error) return message.text.substr(std::string("test: ").size());
  }
  return "";
}

// PyTorch's text as gapless gives it: without the file and line of an internal assert, whose advice to report a bug of
// PyTorch's would be wrong; a failed number says which.
bool same_error(const std::string& wheel, const std::string& ours) {
  if (const auto at = wheel.find("please report a bug to PyTorch. "); at != std::string::npos) {
    return ours == wheel.substr(at + std::string("please report a bug to PyTorch. ").size());
  }
  if (wheel.rfind("std:", 0) == 0) return ours.rfind(wheel.substr(4) + ": ", 0) == 0;
  return ours.rfind(wheel, 0) == 0;
}

TEST(PytorchConf, AsTheWheelReadsIt) {
  std::ifstream golden(GAPLESS_GOLDEN);
  ASSERT_TRUE(golden);
  std::string line;
  int cases = 0;
  while (std::getline(golden, line)) {
    const auto first = line.find('\t'), second = line.find('\t', first + 1);
    ASSERT_NE(second, std::string::npos) << line;
    const std::string text = line.substr(0, first);
    const std::string verdict = line.substr(first + 1, second - first - 1);
    // The wheel compares a backend with its allocator's name; gapless reads the wish, and the PyTorch library acts on
    // it.
    if (verdict.find("Allocator backend parsed at runtime") != std::string::npos) continue;
    ++cases;
    Options options;
    Messages messages;
    parse_pytorch_conf(text, "test", options, messages);
    if (verdict == "ok") {
      EXPECT_EQ(error_of(messages), "") << text;
      EXPECT_EQ(state_text(options), line.substr(second + 1)) << text;
      EXPECT_EQ(options.pytorch.text, text);
    } else {
      EXPECT_TRUE(same_error(verdict, error_of(messages)))
          << text << "\n wheel: " << verdict << "\n  ours: " << error_of(messages);
      EXPECT_TRUE(options == Options{}) << text;
    }
  }
  EXPECT_GT(cases, 60);
}

TEST(PytorchConf, EachParseResetsSomeKeysOnly) {
  Options options;
  Messages messages;
  parse_pytorch_conf(
      "large_segment_size_mb:40,max_split_size_mb:50,max_non_split_rounding_mb:60,garbage_collection_threshold:0.5,"
      "roundup_power2_divisions:4,expandable_segments:True,per_process_memory_fraction:0.5",
      "test", options, messages);
  EXPECT_EQ(options.pytorch.max_non_split_rounding_size, 60 * kMiB);
  parse_pytorch_conf("", "test", options, messages);
  EXPECT_EQ(error_of(messages), "");
  EXPECT_EQ(options.pytorch.large_segment_size, 40 * kMiB);
  EXPECT_EQ(options.pytorch.max_split_size, kUnlimited);
  EXPECT_EQ(options.pytorch.max_non_split_rounding_size, 40 * kMiB);
  EXPECT_EQ(options.pytorch.garbage_collection_threshold, 0);
  EXPECT_EQ(options.roundup_power2_divisions, Divisions{});
  EXPECT_TRUE(options.pytorch.expandable_segments);
  EXPECT_EQ(options.memory_fraction, 0.5);
}

TEST(PytorchConf, OwnKeys) {
  Options options;
  Messages messages;
  parse_pytorch_conf("expandable_segments:True,gapless_slack:1.02,gapless_roundup_power2_divisions:[256:1,>:8]", "test",
                     options, messages);
  EXPECT_TRUE(messages.empty()) << messages[0].text;
  EXPECT_EQ(options.slack, 1.02);
  EXPECT_EQ(options.roundup_power2_divisions.of(kGiB), 8u);

  parse_pytorch_conf("gapless_slack:9,gapless_lending:false", "test", options, messages);
  EXPECT_EQ(error_of(messages), "gapless_slack: '9' must be a number from 1 to 4");
  EXPECT_EQ(options.slack, 1.02);
  EXPECT_TRUE(options.lending);
}

TEST(PytorchConf, SuggestsTheNearestKey) {
  const auto error = [](const char* text) {
    Options options;
    Messages messages;
    parse_pytorch_conf(text, "test", options, messages);
    return error_of(messages);
  };
  EXPECT_EQ(error("max_split_size:100"),
            "Unrecognized key 'max_split_size' in Accelerator allocator config. Did you mean 'max_split_size_mb'?");
  EXPECT_EQ(error("gapless_slak:1.02"),
            "Unrecognized key 'gapless_slak' in Accelerator allocator config. Did you mean 'gapless_slack'?");
}

TEST(PytorchConf, SettingsWithoutEffectAreNoted) {
  const auto notes = [](const char* text) {
    Options options;
    Messages messages;
    parse_pytorch_conf(text, "test", options, messages);
    EXPECT_EQ(error_of(messages), "") << text;
    return messages.size();
  };
  EXPECT_EQ(notes("max_split_size_mb:100"), 1u);
  EXPECT_EQ(notes("garbage_collection_threshold:0.8,release_lock_on_cudamalloc:True"), 2u);
  EXPECT_EQ(notes("expandable_segments:False"), 1u);
  EXPECT_EQ(notes("expandable_segments:True"), 0u);
  EXPECT_EQ(notes("backend:native"), 0u);
  EXPECT_EQ(notes("backend:cudaMallocAsync"), 1u);
  EXPECT_EQ(notes("pinned_use_background_threads:True"), 0u);
  EXPECT_EQ(notes("throw_on_cudamalloc_oom:True"), 1u);  // of a later PyTorch
}

}  // namespace
}  // namespace gapless::config

// SPDX-License-Identifier: Apache-2.0
#include "tools/trace.hpp"

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <fstream>
#include <sstream>

namespace gapless::tools {
namespace {

class TraceFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "gapless_trace_XXXXXX";
    const int file = mkstemp(pattern.data());
    ASSERT_GE(file, 0);
    close(file);
    path_ = pattern;
  }
  void TearDown() override { std::remove(path_.c_str()); }

  Trace plain(const std::string& text) {
    std::ofstream(path_, std::ios::binary) << text;
    return read_trace(path_);
  }

  // The error's text without the file's name.
  std::string error(const std::string& text) {
    try {
      plain(text);
    } catch (const TraceError& broken) {
      const std::string what = broken.what();
      return what.starts_with(path_) ? what.substr(path_.size()) : what;
    }
    return "no error";
  }

  std::string path_;
};

TEST_F(TraceFile, ReadsEveryKindOfEvent) {
  const Trace trace = plain(
      "# {\"name\": \"x\"}\ns 0 build\na 7 1000 0\ns 1 step\na 9 0 3 +12\np bwd\nr 7 3\ny 3\ny -1 +2\nf 7 +1\ns 2 "
      "end\n");
  EXPECT_EQ(trace.header, "{\"name\": \"x\"}");
  EXPECT_EQ(trace.streams, (std::vector<std::int32_t>{0, 3}));
  ASSERT_EQ(trace.ops.size(), 10u);
  const auto& ops = trace.ops;
  EXPECT_EQ(ops[0].kind, OpKind::step_mark);
  EXPECT_EQ(trace.label(ops[0]), "build");
  EXPECT_EQ(ops[1], (Op{OpKind::allocate, kNoLabel, 0, 0, 0, 1000}));
  EXPECT_EQ(ops[3], (Op{OpKind::allocate, kNoLabel, 3, 1, 12, 0}));
  EXPECT_EQ(trace.label(ops[4]), "bwd");
  EXPECT_EQ(ops[5], (Op{OpKind::record_stream, kNoLabel, 3, 0, 0, 0}));
  EXPECT_EQ(ops[6], (Op{OpKind::synchronize, kNoLabel, 3, 0, 0, 0}));
  EXPECT_EQ(ops[7], (Op{OpKind::synchronize, kNoLabel, kEveryStream, 0, 2, 0}));
  EXPECT_EQ(ops[8], (Op{OpKind::free, kNoLabel, 0, 0, 1, 0}));
  EXPECT_EQ(trace.peak_live_bytes, 1024u);
  EXPECT_EQ(trace.allocations, 2u);
  EXPECT_EQ(trace.frees, 1u);
}

TEST_F(TraceFile, ReusesSlotsOfFreedIds) {
  const Trace trace = plain("a 1 1 0\na 2 1 0\nf 1\na 3 1 0\nf 2\nf 3\n");
  EXPECT_EQ(trace.slots, 2u);
  EXPECT_EQ(trace.ops[3].id, trace.ops[0].id);
}

TEST_F(TraceFile, TakesNoNewlineAtTheEndAndWindowsLines) {
  EXPECT_EQ(plain("a 1 512 0\r\nf 1").ops.size(), 2u);
}

TEST_F(TraceFile, NamesFileAndLineOfWhatIsBroken) {
  EXPECT_EQ(error("a 1 512 0\nf 2\n"), ":2: id 2 is not allocated");
  EXPECT_EQ(error("a 1 512 0\nf 1\nf 1\n"), ":3: id 1 is not allocated");
  EXPECT_EQ(error("a 1 512 0\na 1 512 0\n"), ":2: id 1 is allocated already");
  EXPECT_EQ(error("r 1 0\n"), ":1: id 1 is not allocated");
  EXPECT_EQ(error("# h\n\nx 1\n"), ":3: unknown event 'x'");
  EXPECT_EQ(error("alloc 1 2 3\n"), ":1: unknown event \"alloc 1 2 3\"");
  EXPECT_EQ(error("a 1 -5 0\n"), ":1: expected a size, found \"-5 0\"");
  EXPECT_EQ(error("a 1 12x 0\n"), ":1: expected a size, found \"12x 0\"");
  EXPECT_EQ(error("a 1 512\n"), ":1: expected a stream, found \"\"");
  EXPECT_EQ(error("a 1 512 -1\n"), ":1: an allocation needs a stream");
  EXPECT_EQ(error("a 1 512 0 +\n"), ":1: expected a count after '+', found \"\"");
  EXPECT_EQ(error("a 1 512 0 7\n"), ":1: unexpected \"7\" at the end");
  EXPECT_EQ(error("a 1 99999999999999999999 0\n"), ":1: expected a size, found \"99999999999999999999 0\"");
  EXPECT_EQ(error("y -2\n"), ":1: stream -2 out of range");
  EXPECT_EQ(error("s one\n"), ":1: expected the number of the step mark, found \"one\"");
}

TEST_F(TraceFile, ReportsWhatCannotBeRead) {
  EXPECT_THROW(read_trace("/nonexistent/x.trace.gz"), TraceError);
  const gzFile file = gzopen(path_.c_str(), "wb");
  for (int i = 0; i < 5000; ++i) gzprintf(file, "a %d %d 0\n", i, i * 7919 % 100003);
  gzclose(file);
  EXPECT_EQ(read_trace(path_).ops.size(), 5000u);
  std::stringstream whole;
  whole << std::ifstream(path_, std::ios::binary).rdbuf();
  std::string bytes = whole.str();
  const std::string cut = error(bytes.substr(0, bytes.size() / 2));
  EXPECT_NE(cut.find("damaged gzip data"), std::string::npos) << cut;
  for (std::size_t i = bytes.size() / 2; i < bytes.size() / 2 + 40; ++i) bytes[i] = '\x55';
  EXPECT_NE(error(bytes), "no error");
  EXPECT_NE(error(std::string(1 << 20, 'a')).find("line longer than"), std::string::npos);
}

TEST_F(TraceFile, StepsGoFromMarkToMark) {
  const auto bounds = [](const Trace& trace) {
    std::vector<std::pair<std::size_t, std::size_t>> out;
    for (const Step& step : steps_of(trace)) out.emplace_back(step.begin, step.end);
    return out;
  };
  using Bounds = std::vector<std::pair<std::size_t, std::size_t>>;
  EXPECT_EQ(bounds(plain("s 0 build\na 1 1 0\ns 1 step\na 2 1 0\ns 2 eval\ns 3 end\na 3 1 0\n")),
            (Bounds{{2, 4}, {4, 5}}));
  EXPECT_EQ(bounds(plain("s 0\na 1 1 0\ns 1\na 2 1 0\ns 2\n")), (Bounds{{0, 2}, {2, 4}}));
  EXPECT_EQ(bounds(plain("s 0\na 1 1 0\ns 1\na 2 1 0\n")), (Bounds{{0, 2}, {2, 4}}));
  EXPECT_TRUE(bounds(plain("a 1 1 0\n")).empty());
}

TEST_F(TraceFile, TruncationRecountsThePeak) {
  Trace trace = plain("a 1 1024 0\nf 1\na 2 512 0\na 3 4096 0\n");
  EXPECT_EQ(trace.peak_live_bytes, 4608u);
  truncate(trace, 3);
  EXPECT_EQ(trace.ops.size(), 3u);
  EXPECT_EQ(trace.peak_live_bytes, 1024u);
  EXPECT_EQ(trace.frees, 1u);
}

// Every trace of the repository against INDEX.tsv, which another program wrote.
TEST(Traces, AgreeWithTheIndex) {
  std::ifstream index(GAPLESS_TRACES "/INDEX.tsv");
  std::string line;
  std::getline(index, line);
  int checked = 0;
  while (std::getline(index, line)) {
    std::stringstream fields(line);
    std::string name;
    std::uint64_t peak = 0, allocations = 0, events = 0;
    fields >> name >> peak >> allocations >> events;
    const Trace trace = read_trace(std::string(GAPLESS_TRACES "/") + name + ".trace.gz");
    EXPECT_EQ(trace.name, name);
    EXPECT_EQ(trace.peak_live_bytes, peak) << name;
    EXPECT_EQ(trace.allocations, allocations) << name;
    EXPECT_EQ(trace.ops.size(), events) << name;
    ++checked;
  }
  EXPECT_EQ(checked, 43);
}

}  // namespace
}  // namespace gapless::tools

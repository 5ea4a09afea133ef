// SPDX-License-Identifier: Apache-2.0
#include "tools/repeat.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace gapless::tools {
namespace {

// Blocks that live, by kind, after each step mark; fails on an op that no correct program makes.
std::vector<std::uint64_t> live_at_marks(const Trace& trace) {
  std::map<std::uint32_t, std::uint64_t> live;
  std::vector<std::uint64_t> at_marks;
  std::uint64_t sum = 0;
  for (const Op& op : trace.ops) {
    if (op.kind == OpKind::step_mark) at_marks.push_back(sum);
    if (op.kind == OpKind::allocate) {
      EXPECT_LT(op.id, trace.slots);
      EXPECT_TRUE(op.bytes == 0 || !live.contains(op.id));
      live[op.id] = rounded_bytes(op.bytes);
      sum += live[op.id];
    } else if (op.kind == OpKind::free) {
      EXPECT_TRUE(live.contains(op.id));
      sum -= live[op.id];
      live.erase(op.id);
    } else if (op.kind == OpKind::record_stream) {
      EXPECT_TRUE(live.contains(op.id));
    }
  }
  return at_marks;
}

TEST(Repeat, ARecordedLoopGoesOnAsItWas) {
  Trace trace = read_trace(std::string(GAPLESS_TRACES) + "/gpt2s_pad.trace.gz");
  const std::uint64_t peak = trace.peak_live_bytes;
  const std::size_t steps = steps_of(trace).size();
  repeat_steps(trace, 3);
  EXPECT_EQ(trace.peak_live_bytes, peak);
  EXPECT_EQ(steps_of(trace).size(), steps - 1 + 3 * (steps - steps / 2 - 1));
  const std::vector<std::uint64_t> live = live_at_marks(trace);
  for (std::size_t i = live.size() - 10; i < live.size(); ++i) EXPECT_EQ(live[i], live.back());
}

TEST(Repeat, WhatDoesNotComeBackToItsBeginningIsAnError) {
  Trace trace;
  trace.name = "grows";
  trace.labels = {""};
  for (std::uint32_t step = 0; step < 4; ++step) {
    trace.ops.push_back({OpKind::step_mark, kNoLabel, 0, step, 0, 0});
    trace.ops.push_back({OpKind::allocate, kNoLabel, 0, trace.slots++, 0, 1000});
  }
  try {
    repeat_steps(trace, 1);
    FAIL();
  } catch (const TraceError& error) {
    EXPECT_STREQ(
        error.what(),
        "grows: its steps from the middle to the last cannot be repeated: 1024 bytes are made and not freed in it, "
        "or freed and not made");
  }
}

}  // namespace
}  // namespace gapless::tools

// SPDX-License-Identifier: Apache-2.0
// Loops whose steps are nearly alike, which is what the engine settles into: an allocation more, one less, two the
// other way round, other streams in between, two models taking turns. The model and every invariant hold throughout.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "support/program.hpp"
#include "support/session.hpp"

namespace gapless::testing {
namespace {

using driver::sim::Completion;
using tools::Op;
using tools::OpKind;

// A training step: activations forward, freed in backward while gradients come; what is asked for in between dies at
// once. Sizes in KiB.
struct Model {
  std::vector<std::uint64_t> activations;
  std::vector<std::uint64_t> temporaries;
  std::int32_t stream = 0;
};

enum class Change { none, extra, missing, swapped, longer };

class Loop {
 public:
  void step(const Model& model, Change change, std::size_t where, std::int32_t guest) {
    Model now = model;
    where %= now.activations.size();
    if (change == Change::extra) now.activations.insert(now.activations.begin() + at(where), 3000);
    if (change == Change::missing && now.activations.size() > 1)
      now.activations.erase(now.activations.begin() + at(where));
    if (change == Change::swapped) std::swap(now.activations.front(), now.activations[where]);
    if (change == Change::longer)
      for (std::uint64_t& size : now.activations) size += size / 8;
    ops_.push_back({OpKind::step_mark, tools::kNoLabel, 0, steps_++, 0, 0});
    std::vector<std::uint32_t> live;
    std::vector<std::uint32_t> guests;
    for (std::size_t i = 0; i < now.activations.size(); ++i) {
      live.push_back(allocate(now.activations[i], now.stream));
      free(allocate(now.temporaries[i % now.temporaries.size()], now.stream));
      if (guest >= 0 && i % 2 == 0) guests.push_back(allocate(1500, guest));
    }
    std::vector<std::uint32_t> gradients;
    while (!live.empty()) {
      gradients.push_back(allocate(now.temporaries[live.size() % now.temporaries.size()], now.stream));
      free(live.back());
      live.pop_back();
    }
    for (const std::uint32_t slot : guests) free(slot);
    for (const std::uint32_t slot : gradients) free(slot);
  }
  const std::vector<Op>& ops() const { return ops_; }

 private:
  static std::ptrdiff_t at(std::size_t index) { return static_cast<std::ptrdiff_t>(index); }
  std::uint32_t allocate(std::uint64_t kibibytes, std::int32_t stream) {
    std::uint32_t slot = slots_;
    if (unused_.empty()) {
      ++slots_;
    } else {
      slot = unused_.back();
      unused_.pop_back();
    }
    ops_.push_back({OpKind::allocate, tools::kNoLabel, stream, slot, 1, kibibytes << 10});
    return slot;
  }
  void free(std::uint32_t slot) {
    ops_.push_back({OpKind::free, tools::kNoLabel, 0, slot, 0, 0});
    unused_.push_back(slot);
  }

  std::vector<Op> ops_;
  std::vector<std::uint32_t> unused_;
  std::uint32_t slots_ = 0;
  std::uint32_t steps_ = 0;
};

// Small blocks, up to 1 MiB, have heaps of their own and rules of their own for a place that is not backed.
enum class Sizes { any, mostly_small };

Model arbitrary_model(std::int32_t stream, Sizes which) {
  const auto sizes = [which](std::size_t count) {
    const auto any = rc::gen::inRange<std::uint64_t>(1, 12000);
    const auto small = rc::gen::inRange<std::uint64_t>(1, 1025);
    return *rc::gen::container<std::vector<std::uint64_t>>(
        count, which == Sizes::any ? any : rc::gen::weightedOneOf<std::uint64_t>({{4, small}, {1, any}}));
  };
  return {sizes(*rc::gen::inRange<std::size_t>(2, 10)), sizes(3), stream};
}

void check_loop(const char* options, Completion completion, bool two_models, bool guests, Sizes sizes = Sizes::any) {
  const Model first = arbitrary_model(0, sizes);
  const Model second = two_models ? arbitrary_model(1, sizes) : first;
  Loop loop;
  const auto steps = *rc::gen::inRange<int>(6, 14);
  for (int i = 0; i < steps; ++i) {
    // Two of three steps are alike.
    const auto change = *rc::gen::weightedElement<Change>(
        {{8, Change::none}, {1, Change::extra}, {1, Change::missing}, {1, Change::swapped}, {1, Change::longer}});
    const std::int32_t guest = guests && *rc::gen::inRange<int>(0, 3) == 0 ? 2 : -1;
    loop.step(i % 2 == 0 ? first : second, change, *rc::gen::inRange<std::size_t>(0, 100), guest);
  }
  Scenario scenario;
  scenario.device.size = std::uint64_t{512} << 20;
  scenario.device.completion = completion;
  scenario.device.lag = 7;
  scenario.device.strict = true;
  scenario.device.reserve_host_va = false;
  scenario.options = options;
  const Outcome outcome = run_program(scenario, loop.ops());
  if (outcome.problem) RC_FAIL(*outcome.problem + "\n" + to_text(loop.ops()));
}

TEST(Steps, OneModelNearlyAlike) {
  EXPECT_TRUE(rc::check([] { check_loop("slack:1.0", Completion::eager, false, false); }));
}
TEST(Steps, InterleavedStreams) {
  EXPECT_TRUE(rc::check([] { check_loop("slack:1.0", Completion::lag, false, true); }));
}
TEST(Steps, TwoModelsTakeTurns) {
  EXPECT_TRUE(rc::check([] { check_loop("", Completion::lazy, true, false); }));
}
TEST(Steps, TwoModelsOverStreamsThatRunBehind) {
  EXPECT_TRUE(rc::check([] { check_loop("slack:1.0", Completion::random, true, true); }));
}
TEST(Steps, SmallBlocksOfTwoModels) {
  EXPECT_TRUE(rc::check([] { check_loop("slack:1.0", Completion::random, true, true, Sizes::mostly_small); }));
}
TEST(Steps, StreamsThatShareAHeap) {
  EXPECT_TRUE(rc::check([] { check_loop("slack:1.0,stream_sharing:on", Completion::random, true, true); }));
}

}  // namespace
}  // namespace gapless::testing

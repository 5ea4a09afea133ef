// SPDX-License-Identifier: Apache-2.0
// The mistakes that allocators make, planted in the smallest allocator that can make them: each is found under every
// schedule, also where the data would have come out right; without the mistake nothing is reported.
#include <gtest/gtest.h>

#include <ostream>
#include <thread>

#include "contract/world.hpp"

namespace gapless::contract {
namespace {

enum class Bug {
  none,
  no_record_stream,
  recorded_too_early,
  wait_on_wrong_stream,
  unmap_before_completion,
  alias_without_order,
  foreign_thread
};

// A block of one granule goes from its owner stream to another user and back to a new owner.
void reuse(World& w, Bug bug) {
  const Address block = w.mapped();
  const Stream owner = w.stream();
  const Stream user = w.stream();
  const Stream bystander = w.stream();
  const Event freed = w.event();

  w.write(owner, block, "producer");
  w.order(owner, user);
  if (bug == Bug::recorded_too_early) (void)w.driver.event_record(0, freed, user);
  w.read(user, block, "consumer");
  // The free: what the allocator knows of the block's users.
  if (bug != Bug::recorded_too_early)
    (void)w.driver.event_record(0, freed, bug == Bug::wait_on_wrong_stream ? bystander : user);
  if (bug != Bug::no_record_stream) (void)w.driver.stream_wait_event(0, owner, freed);
  w.write(owner, block, "next owner");
}

void unmap(World& w, Bug bug) {
  const Address block = w.mapped();
  const Stream stream = w.stream();
  const Event freed = w.event();
  w.write(stream, block);
  (void)w.driver.event_record(0, freed, stream);
  if (bug != Bug::unmap_before_completion) (void)w.driver.event_synchronize(0, freed);
  (void)w.driver.unmap(block, kGranule);
}

void alias(World& w, Bug bug) {
  const Address base = w.reserve(2);
  const Handle handle = w.create();
  w.map(base, handle);
  w.map(base + kGranule, handle);
  const Stream a = w.stream();
  const Stream b = w.stream();
  w.write(a, base, "old slot");
  if (bug != Bug::alias_without_order) w.order(a, b);
  w.write(b, base + kGranule, "new slot");
}

// One thread learns that the work is complete, another takes the memory away.
void two_threads(World& w, Bug bug) {
  const Address block = w.mapped();
  const Stream stream = w.stream();
  w.write(stream, block);
  (void)w.driver.stream_synchronize(0, stream);
  w.machine.host_release(1);
  std::thread([&] {
    if (bug != Bug::foreign_thread) w.machine.host_acquire(1);
    (void)w.driver.unmap(block, kGranule);
  }).join();
}

struct Planted {
  Bug bug;
  void (*program)(World&, Bug);
  const char* rule;
};

// Without it GoogleTest prints bytes, addresses among them, which differ from run to run.
void PrintTo(const Planted& planted, std::ostream* out) {
  *out << planted.rule << " broken by bug " << static_cast<int>(planted.bug);
}

class PlantedBug : public testing::TestWithParam<std::tuple<Planted, std::string>> {
 protected:
  static driver::sim::Config config() {
    driver::sim::Config config;
    config.strict = true;
    config.threads_separate = true;
    EXPECT_TRUE(driver::sim::parse_completion(std::get<1>(GetParam()), config));
    return config;
  }
};

TEST_P(PlantedBug, IsFound) {
  const Planted& planted = std::get<0>(GetParam());
  World w(config());
  planted.program(w, planted.bug);
  ASSERT_EQ(w.rules_of_device(), std::set<std::string>{planted.rule});
  const std::string text = w.machine.violations()[0].text;
  EXPECT_NE(text.find("operation"), std::string::npos) << text;
}

TEST_P(PlantedBug, IsNotSeenWhereItIsNot) {
  World w(config());
  std::get<0>(GetParam()).program(w, Bug::none);
  EXPECT_TRUE(w.rules_of_device().empty()) << w.machine.violations()[0].text;
}

INSTANTIATE_TEST_SUITE_P(Contract, PlantedBug,
                         testing::Combine(testing::Values(Planted{Bug::no_record_stream, reuse, "RACE-1"},
                                                          Planted{Bug::recorded_too_early, reuse, "RACE-1"},
                                                          Planted{Bug::wait_on_wrong_stream, reuse, "RACE-1"},
                                                          Planted{Bug::unmap_before_completion, unmap, "PEND-1"},
                                                          Planted{Bug::alias_without_order, alias, "RACE-2"},
                                                          Planted{Bug::foreign_thread, two_threads, "PEND-1"}),
                                          testing::Values("eager", "lazy", "lag:5", "random:1", "random:2",
                                                          "random:3")));

}  // namespace
}  // namespace gapless::contract

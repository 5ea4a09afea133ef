// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "driver/sim/machine.hpp"

namespace gapless::driver::sim {
namespace {

class SimGraph : public testing::TestWithParam<const char*> {
 protected:
  static Config config() {
    Config config;
    config.strict = true;
    EXPECT_TRUE(parse_completion(GetParam(), config));
    return config;
  }

  Stream stream() {
    Stream out = nullptr;
    StreamFlags flags;
    flags.non_blocking = true;
    EXPECT_EQ(machine_.stream_create(0, flags, out), Result::ok);
    return out;
  }
  void note(Stream stream, const char* word, Address at = 0) {
    const Access access{at, 512, true, -1};
    Operation operation;
    operation.name = word;
    if (at != 0) operation.accesses = {&access, 1};
    operation.body = [this, word] { log_ += std::string(word) + " "; };
    ASSERT_EQ(machine_.submit(0, stream, operation), Result::ok);
  }
  void order(Stream earlier, Stream later) {
    Event event = nullptr;
    ASSERT_EQ(machine_.event_create(0, event), Result::ok);
    ASSERT_EQ(machine_.event_record(0, event, earlier), Result::ok);
    ASSERT_EQ(machine_.stream_wait_event(0, later, event), Result::ok);
    ASSERT_EQ(machine_.event_destroy(event), Result::ok);
  }
  // A graph of two branches, one of `side`, that are ordered with nothing but the fork and the join.
  GraphExec forked(Stream origin, Stream side, Address of_side, Address of_origin) {
    EXPECT_EQ(machine_.begin_capture(0, origin, CaptureMode::relaxed), Result::ok);
    order(origin, side);
    note(side, "side", of_side);
    note(origin, "origin", of_origin);
    order(side, origin);
    return end(origin);
  }
  GraphExec end(Stream origin) {
    Graph graph = nullptr;
    GraphExec exec = nullptr;
    EXPECT_EQ(machine_.end_capture(0, origin, graph), Result::ok);
    EXPECT_EQ(machine_.graph_instantiate(graph, exec), Result::ok);
    EXPECT_EQ(machine_.graph_destroy(graph), Result::ok);
    return exec;
  }

  Machine machine_{config()};
  std::string log_;
};

TEST_P(SimGraph, ACaptureNamesItsGraphAndShowsItAtTheEnd) {
  const Stream origin = stream();
  Graph promised = nullptr;
  EXPECT_EQ(machine_.capture_graph(0, origin, promised), Result::invalid_value);
  ASSERT_EQ(machine_.begin_capture(0, origin, CaptureMode::global), Result::ok);
  ASSERT_EQ(machine_.capture_graph(0, origin, promised), Result::ok);
  GraphExec exec = nullptr;
  EXPECT_EQ(machine_.graph_instantiate(promised, exec), Result::invalid_value);
  EXPECT_EQ(machine_.graph_destroy(promised), Result::invalid_value) << "the capture owns it";
  note(origin, "a");
  Graph graph = nullptr;
  ASSERT_EQ(machine_.end_capture(0, origin, graph), Result::ok);
  EXPECT_EQ(graph, promised);
  std::size_t nodes = 0;
  EXPECT_EQ(machine_.graph_node_count(promised, nodes), Result::ok);
  EXPECT_EQ(nodes, 1u);
  EXPECT_EQ(machine_.graph_destroy(graph), Result::ok);
}

TEST_P(SimGraph, TheGraphOfACaptureThatFailsGoesWithIt) {
  const Stream origin = stream();
  Graph promised = nullptr;
  ASSERT_EQ(machine_.begin_capture(0, origin, CaptureMode::global), Result::ok);
  ASSERT_EQ(machine_.capture_graph(0, origin, promised), Result::ok);
  const Stream side = stream();
  order(origin, side);  // joins and never comes back
  Graph graph = nullptr;
  EXPECT_NE(machine_.end_capture(0, origin, graph), Result::ok);
  EXPECT_EQ(graph, nullptr);
  EXPECT_EQ(machine_.graph_destroy(promised), Result::invalid_value);
  std::size_t nodes = 0;
  EXPECT_EQ(machine_.graph_node_count(promised, nodes), Result::invalid_value);
}

TEST_P(SimGraph, ShowsItsNodesAndWhatEachDependsOn) {
  const Stream origin = stream();
  const Stream side = stream();
  std::span<const GraphNodeHandle> next;
  EXPECT_EQ(machine_.capture_dependencies(0, origin, next), Result::invalid_value) << "no capture";
  ASSERT_EQ(machine_.begin_capture(0, origin, CaptureMode::global), Result::ok);
  Graph graph = nullptr;
  ASSERT_EQ(machine_.capture_graph(0, origin, graph), Result::ok);
  ASSERT_EQ(machine_.capture_dependencies(0, origin, next), Result::ok);
  EXPECT_TRUE(next.empty());
  note(origin, "a");
  order(origin, side);
  order(origin, side);  // twice the same: one edge
  note(side, "b");
  note(origin, "c");
  order(side, origin);
  ASSERT_EQ(machine_.capture_dependencies(0, origin, next), Result::ok);
  const std::vector<GraphNodeHandle> joined(next.begin(), next.end());
  note(origin, "d");

  std::vector<GraphNodeHandle> all;
  ASSERT_EQ(machine_.graph_nodes(graph, false, all), Result::ok) << "while the capture is under way too";
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(joined, (std::vector<GraphNodeHandle>{all[1], all[2]}));
  GraphExec exec = nullptr;
  ASSERT_EQ(machine_.end_capture(0, origin, graph), Result::ok);
  std::vector<GraphNodeHandle> at_the_end;
  ASSERT_EQ(machine_.graph_nodes(graph, false, at_the_end), Result::ok);
  EXPECT_EQ(at_the_end, all);
  std::vector<GraphNodeHandle> roots;
  ASSERT_EQ(machine_.graph_nodes(graph, true, roots), Result::ok);
  EXPECT_EQ(roots, std::vector<GraphNodeHandle>{all[0]});
  NodeInfo info;
  ASSERT_EQ(machine_.graph_node_info(all[0], info), Result::ok);
  EXPECT_STREQ(info.name, "a");
  std::vector<GraphNodeHandle> neighbours;
  ASSERT_EQ(machine_.graph_node_dependencies(all[0], neighbours), Result::ok);
  EXPECT_TRUE(neighbours.empty());
  ASSERT_EQ(machine_.graph_node_dependents(all[0], neighbours), Result::ok);
  EXPECT_EQ(neighbours, (std::vector<GraphNodeHandle>{all[1], all[2]}));
  ASSERT_EQ(machine_.graph_node_dependencies(all[3], neighbours), Result::ok);
  EXPECT_EQ(neighbours, joined);
  std::vector<GraphNodeHandle> from;
  std::vector<GraphNodeHandle> to;
  ASSERT_EQ(machine_.graph_edges(graph, from, to), Result::ok);
  EXPECT_EQ(from, (std::vector<GraphNodeHandle>{all[0], all[0], all[1], all[2]}));
  EXPECT_EQ(to, (std::vector<GraphNodeHandle>{all[1], all[2], all[3], all[3]}));
  ASSERT_EQ(machine_.graph_instantiate(graph, exec), Result::ok);

  // A launch in another capture is one node of it, whatever is inside.
  ASSERT_EQ(machine_.begin_capture(0, side, CaptureMode::global), Result::ok);
  ASSERT_EQ(machine_.graph_launch(0, exec, side), Result::ok);
  note(side, "e");
  Graph outer = nullptr;
  ASSERT_EQ(machine_.end_capture(0, side, outer), Result::ok);
  std::vector<GraphNodeHandle> outer_nodes;
  ASSERT_EQ(machine_.graph_nodes(outer, false, outer_nodes), Result::ok);
  ASSERT_EQ(outer_nodes.size(), 2u);
  ASSERT_EQ(machine_.graph_node_info(outer_nodes[0], info), Result::ok);
  EXPECT_EQ(info.kind, NodeKind::child_graph);
  ASSERT_EQ(machine_.graph_node_dependents(outer_nodes[0], neighbours), Result::ok);
  EXPECT_EQ(neighbours, std::vector<GraphNodeHandle>{outer_nodes[1]});

  ASSERT_EQ(machine_.graph_destroy(graph), Result::ok);
  EXPECT_EQ(machine_.graph_node_info(all[0], info), Result::invalid_value) << "a node goes with its graph";
  EXPECT_EQ(machine_.graph_node_dependencies(all[0], neighbours), Result::invalid_value);
  EXPECT_EQ(machine_.graph_node_dependents(all[0], neighbours), Result::invalid_value);
  EXPECT_EQ(machine_.graph_nodes(graph, false, all), Result::invalid_value);
  EXPECT_EQ(machine_.graph_node_info(outer_nodes[0], info), Result::ok);
  ASSERT_EQ(machine_.graph_launch(0, exec, origin), Result::ok) << "what was instantiated stays";
  ASSERT_EQ(machine_.stream_synchronize(0, origin), Result::ok);
  EXPECT_EQ(log_.front(), 'a');
  EXPECT_EQ(log_.substr(log_.size() - 2), "d ");
  EXPECT_EQ(machine_.violation_count(), 0u);
}

// It is a node like others, though it does nothing.
TEST_P(SimGraph, ALaunchOfAnEmptyGraphIsToBeJoined) {
  const Stream origin = stream();
  const Stream side = stream();
  ASSERT_EQ(machine_.begin_capture(0, side, CaptureMode::relaxed), Result::ok);
  const GraphExec empty = end(side);
  for (const bool joins : {true, false}) {
    ASSERT_EQ(machine_.begin_capture(0, origin, CaptureMode::relaxed), Result::ok);
    order(origin, side);
    order(side, origin);  // the fork alone is joined
    ASSERT_EQ(machine_.graph_launch(0, empty, side), Result::ok);
    if (joins) order(side, origin);
    Graph graph = nullptr;
    EXPECT_EQ(machine_.end_capture(0, origin, graph), joins ? Result::ok : code::capture_unjoined);
    EXPECT_EQ(machine_.violation_count(), joins ? 0u : 1u);
    if (!joins) continue;
    GraphExec exec = nullptr;
    ASSERT_EQ(machine_.graph_instantiate(graph, exec), Result::ok);
    ASSERT_EQ(machine_.graph_launch(0, exec, origin), Result::ok);
    EXPECT_EQ(machine_.stream_synchronize(0, origin), Result::ok);
  }
}

TEST_P(SimGraph, RunsNothingWhileCapturedAndEverythingAtEachLaunch) {
  const Stream origin = stream();
  const Stream side = stream();
  ASSERT_EQ(machine_.begin_capture(0, origin, CaptureMode::global), Result::ok);
  CaptureInfo info;
  ASSERT_EQ(machine_.capture_info(0, origin, info), Result::ok);
  EXPECT_EQ(info.status, CaptureStatus::active);
  EXPECT_EQ(info.id, 1u);
  note(origin, "a");
  order(origin, side);
  ASSERT_EQ(machine_.capture_info(0, side, info), Result::ok);
  EXPECT_EQ(info.id, 1u) << "a stream joins by waiting";
  note(side, "b");
  order(side, origin);
  note(origin, "c");
  const GraphExec exec = end(origin);
  ASSERT_EQ(machine_.capture_info(0, side, info), Result::ok);
  EXPECT_EQ(info.status, CaptureStatus::none);
  ASSERT_EQ(machine_.device_synchronize(0), Result::ok);
  EXPECT_EQ(log_, "");
  for (int i = 0; i < 2; ++i) ASSERT_EQ(machine_.graph_launch(0, exec, side), Result::ok);
  ASSERT_EQ(machine_.stream_synchronize(0, side), Result::ok);
  EXPECT_EQ(log_, "a b c a b c ");
  ASSERT_EQ(machine_.graph_exec_destroy(exec), Result::ok);
  EXPECT_EQ(machine_.graph_launch(0, exec, side), Result::invalid_value);
  EXPECT_EQ(machine_.violation_count(), 0u);
}

TEST_P(SimGraph, AReplayIsOrderedByItsLaunchNotByItsCapture) {
  Address block = 0;
  ASSERT_EQ(machine_.allocate(0, 4096, block), Result::ok);
  const Stream origin = stream();
  const Stream other = stream();
  ASSERT_EQ(machine_.begin_capture(0, origin, CaptureMode::relaxed), Result::ok);
  note(origin, "replayed", block);
  const GraphExec exec = end(origin);
  ASSERT_EQ(machine_.graph_launch(0, exec, origin), Result::ok);
  order(origin, other);
  note(other, "after", block);
  EXPECT_EQ(machine_.violation_count(), 0u);
  ASSERT_EQ(machine_.graph_launch(0, exec, origin), Result::ok);
  ASSERT_EQ(machine_.violation_count(), 1u) << "the second launch overwrites what `after` may still write";
  EXPECT_STREQ(machine_.violations()[0].rule, "RACE-1");
  EXPECT_NE(machine_.violations()[0].text.find("replayed"), std::string::npos);
  EXPECT_NE(machine_.violations()[0].text.find("after"), std::string::npos);
}

// "Each launch is ordered behind both any previous work in hStream and any previous launches of hGraphExec."
TEST_P(SimGraph, LaunchesOfOneExecFollowEachOtherOnAnyStream) {
  Address block = 0;
  ASSERT_EQ(machine_.allocate(0, 4096, block), Result::ok);
  const Stream origin = stream();
  const Stream a = stream();
  const Stream b = stream();
  ASSERT_EQ(machine_.begin_capture(0, origin, CaptureMode::relaxed), Result::ok);
  note(origin, "node", block);
  const GraphExec exec = end(origin);
  note(a, "a");
  ASSERT_EQ(machine_.graph_launch(0, exec, a), Result::ok);
  ASSERT_EQ(machine_.graph_launch(0, exec, b), Result::ok);
  note(b, "b");
  ASSERT_EQ(machine_.stream_synchronize(0, b), Result::ok);
  EXPECT_EQ(log_, "a node node b ");
  EXPECT_EQ(machine_.violation_count(), 0u);
  ASSERT_EQ(machine_.graph_launch(0, exec, b), Result::ok);
  note(a, "other", block);
  EXPECT_EQ(machine_.violation_count(), 1u) << "only launches follow launches";
}

// A graph that forks is launched inside another capture: its branches stay branches, between what its stream held and
// what it gets.
TEST_P(SimGraph, AForkingChildIsCaptured) {
  Address block = 0;
  ASSERT_EQ(machine_.allocate(0, 4096, block), Result::ok);
  const Stream origin = stream();
  const Stream side = stream();
  const GraphExec child = forked(origin, side, block, block + 512);

  ASSERT_EQ(machine_.begin_capture(0, origin, CaptureMode::relaxed), Result::ok);
  note(origin, "before", block);
  ASSERT_EQ(machine_.graph_launch(0, child, origin), Result::ok);
  ASSERT_EQ(machine_.graph_launch(0, child, origin), Result::ok);
  note(origin, "after", block);
  const GraphExec parent = end(origin);
  EXPECT_EQ(log_, "");
  ASSERT_EQ(machine_.graph_launch(0, parent, origin), Result::ok);
  ASSERT_EQ(machine_.stream_synchronize(0, origin), Result::ok);
  EXPECT_EQ(log_.substr(0, 7), "before ");
  EXPECT_EQ(log_.substr(log_.size() - 6), "after ");
  EXPECT_EQ(log_.size(), std::string("before side origin side origin after ").size());
  EXPECT_EQ(machine_.violation_count(), 0u) << machine_.violations()[0].text;

  // The branches are not ordered among themselves: what the origin's writes of the side's bytes would race with.
  const GraphExec racing = forked(origin, side, block, block);
  ASSERT_EQ(machine_.begin_capture(0, origin, CaptureMode::relaxed), Result::ok);
  ASSERT_EQ(machine_.graph_launch(0, racing, origin), Result::ok);
  const GraphExec outer = end(origin);
  ASSERT_EQ(machine_.graph_launch(0, outer, origin), Result::ok);
  EXPECT_EQ(machine_.violation_count(), 1u);
}

TEST_P(SimGraph, PoolCallsInACaptureAreRefusedAndChangeNothing) {
  const Stream origin = stream();
  Stream blocking = nullptr;
  ASSERT_EQ(machine_.stream_create(0, {}, blocking), Result::ok);
  Address block = 0;
  Address none = 0;
  ASSERT_EQ(machine_.pool_allocate(0, 4096, origin, block), Result::ok);
  ASSERT_EQ(machine_.begin_capture(0, origin, CaptureMode::relaxed), Result::ok);
  EXPECT_EQ(machine_.pool_allocate(0, 4096, origin, none), Result::not_supported);
  EXPECT_EQ(machine_.pool_free(0, block, origin), Result::not_supported);
  end(origin);
  EXPECT_EQ(machine_.violation_count(), 0u);
  ASSERT_EQ(machine_.begin_capture(0, blocking, CaptureMode::relaxed), Result::ok);
  EXPECT_EQ(machine_.pool_free(0, block, nullptr), Result::stream_capture_implicit);
  EXPECT_EQ(machine_.violation_count(), 1u);
  Graph graph = nullptr;
  EXPECT_EQ(machine_.end_capture(0, blocking, graph), Result::stream_capture_invalidated);
  note(origin, "user", block);
  EXPECT_EQ(machine_.pool_free(0, block, origin), Result::ok);
  EXPECT_EQ(machine_.violation_count(), 1u) << machine_.violations().back().text;
}

TEST_P(SimGraph, BranchesOfOneGraphRaceWithEachOther) {
  Address block = 0;
  ASSERT_EQ(machine_.allocate(0, 4096, block), Result::ok);
  const Stream origin = stream();
  const Stream side = stream();
  const GraphExec exec = forked(origin, side, block, block);
  EXPECT_EQ(machine_.violation_count(), 0u);
  ASSERT_EQ(machine_.graph_launch(0, exec, origin), Result::ok);
  EXPECT_EQ(machine_.violation_count(), 1u);
}

TEST_P(SimGraph, AnInvalidatedCaptureEndsWithoutAGraph) {
  const Stream origin = stream();
  ASSERT_EQ(machine_.begin_capture(0, origin, CaptureMode::global), Result::ok);
  Address block = 0;
  EXPECT_EQ(machine_.allocate(0, 512, block), Result::stream_capture_unsupported);
  CaptureInfo info;
  ASSERT_EQ(machine_.capture_info(0, origin, info), Result::ok);
  EXPECT_EQ(info.status, CaptureStatus::invalidated);
  Operation operation;
  operation.name = "late";
  EXPECT_EQ(machine_.submit(0, origin, operation), Result::stream_capture_invalidated);
  Graph graph = origin;
  EXPECT_EQ(machine_.end_capture(0, origin, graph), Result::stream_capture_invalidated);
  EXPECT_EQ(graph, nullptr);
  EXPECT_EQ(machine_.submit(0, origin, operation), Result::ok);
  EXPECT_EQ(machine_.allocate(0, 512, block), Result::ok);
}

INSTANTIATE_TEST_SUITE_P(Schedules, SimGraph, testing::Values("eager", "lazy", "lag:3", "random:1"));

}  // namespace
}  // namespace gapless::driver::sim

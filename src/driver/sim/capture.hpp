// SPDX-License-Identifier: Apache-2.0
// A stream capture while it is recorded, and the graph that it becomes. A graph is the list of calls in the order they
// were captured; a launch submits them again, branch 0 on the launching stream, every other branch on a stream of its
// own, so that schedules and races inside a graph are those of the streams that were captured. What a program sees of
// it is the graph's nodes: the work, each with the nodes that it depends on; records and waits are edges.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "driver/sim/clock.hpp"
#include "driver/sim/scheduler.hpp"
#include "driver/sim/types.hpp"

namespace gapless::driver::sim {

struct GraphNode {
  enum class Kind { work, record, wait };
  Kind kind = Kind::work;
  std::uint32_t branch = 0;
  int device = 0;           // of work: where it runs
  std::uint32_t token = 0;  // record and wait: which record a wait waits for
  const char* name = "";
  std::vector<Access> accesses;
  Body body;
  bool host_function = false;
};

// A node as the program sees it.
struct ShownNode {
  NodeKind kind = NodeKind::kernel;
  const char* name = "";
  std::vector<std::uint32_t> dependencies;  // places in GraphState::shown, ascending
};

struct GraphState {
  int device = 0;
  std::vector<GraphNode> nodes;
  std::vector<ShownNode> shown;
  std::uint32_t branches = 1;
  std::uint32_t tokens = 0;
  bool opaque = true;  // one branch, and no node has a body or a known access: a launch is one operation
};

// What a graph's handle names: the graph, or the capture that it comes from while that is under way.
struct GraphEntry {
  std::shared_ptr<const GraphState> graph;
  std::uint64_t capture = 0;
  std::vector<std::uint64_t> nodes;  // handles of the shown nodes, as far as somebody asked
};

struct NodeEntry {
  std::uint64_t graph = 0;  // its handle
  std::uint32_t place = 0;  // in GraphState::shown
};

struct GraphExecState {
  std::shared_ptr<const GraphState> graph;
  std::vector<std::uint32_t> streams;  // of branches 1, 2, ...
  Position last;     // the end of its last launch, which its next one follows on whatever stream (position 0: none)
  Clock last_clock;  // strict: what was ordered before that
};

class Capture {
 public:
  Capture(std::uint64_t id, int device, CaptureMode mode, std::uint32_t thread, std::uint32_t origin)
      : id_(id), device_(device), mode_(mode), thread_(thread), members_{origin}, branches_(1), branch_of_member_{0} {}

  std::uint64_t id() const { return id_; }
  int device() const { return device_; }
  CaptureMode mode() const { return mode_; }
  std::uint32_t thread() const { return thread_; }
  std::uint32_t origin() const { return members_[0]; }
  const std::vector<std::uint32_t>& members() const { return members_; }
  bool invalidated() const { return invalidated_; }
  void invalidate() { invalidated_ = true; }

  void work(std::uint32_t stream, int device, const Operation& operation);
  // The token that a wait names.
  std::uint32_t record(std::uint32_t stream);
  // `stream` may be new: it joins the capture.
  void wait(std::uint32_t stream, std::uint32_t token);
  // A launch inside a capture: the graph's nodes after what `stream` holds and before what it gets, its further
  // branches as branches of nobody's stream. Shown as one node.
  void append(std::uint32_t stream, const GraphState& graph);
  bool joined() const;  // everything is ordered before the origin's end
  GraphState finish();
  const GraphState& so_far() const { return graph_; }
  // What the stream's next node will depend on: places in GraphState::shown, ascending.
  const std::vector<std::uint32_t>& ends(std::uint32_t stream) { return branches_[branch_of(stream)].ends; }
  // Their handles, kept for whoever asked until somebody asks again.
  std::vector<GraphNodeHandle>& asked(std::uint32_t stream) { return branches_[branch_of(stream)].asked; }

  // Of the graph that this becomes: made when it is asked for, at the end otherwise (0 until then).
  std::uint64_t graph_handle = 0;

 private:
  struct Branch {
    std::uint64_t nodes = 0;
    Clock known;  // over branches: nodes of each that are ordered before the branch's next node
    std::vector<std::uint32_t> ends;
    std::vector<GraphNodeHandle> asked;
  };
  // A record of an event.
  struct Token {
    Clock known;
    std::vector<std::uint32_t> ends;
  };

  std::uint32_t branch_of(std::uint32_t stream);
  std::uint32_t add_branch();
  void count(std::uint32_t branch);
  void add(GraphNode node);
  void show(std::uint32_t branch, NodeKind kind, const char* name);
  std::uint32_t record_on(std::uint32_t branch);
  void wait_on(std::uint32_t branch, std::uint32_t token);

  std::uint64_t id_;
  int device_;
  CaptureMode mode_;
  std::uint32_t thread_;
  std::vector<std::uint32_t> members_;  // the streams that capture
  std::vector<Branch> branches_;
  std::vector<std::uint32_t> branch_of_member_;
  std::vector<Token> tokens_;
  GraphState graph_;
  bool invalidated_ = false;
};

}  // namespace gapless::driver::sim

// SPDX-License-Identifier: Apache-2.0
#include "driver/sim/capture.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace gapless::driver::sim {

std::uint32_t Capture::add_branch() {
  branches_.emplace_back();
  return static_cast<std::uint32_t>(branches_.size() - 1);
}

std::uint32_t Capture::branch_of(std::uint32_t stream) {
  const auto it = std::find(members_.begin(), members_.end(), stream);
  const auto member = static_cast<std::size_t>(it - members_.begin());
  if (it == members_.end()) {
    members_.push_back(stream);
    branch_of_member_.push_back(add_branch());
  }
  return branch_of_member_[member];
}

// What a join has to have seen.
void Capture::count(std::uint32_t branch) {
  branches_[branch].known.set(branch, ++branches_[branch].nodes);
}

void Capture::add(GraphNode node) {
  if (node.kind != GraphNode::Kind::record) count(node.branch);
  if (node.body || !node.accesses.empty() || node.branch != 0) graph_.opaque = false;
  graph_.nodes.push_back(std::move(node));
}

// The branch's next node depends on this one alone: what came before comes before it through this one.
void Capture::show(std::uint32_t branch, NodeKind kind, const char* name) {
  std::vector<std::uint32_t>& ends = branches_[branch].ends;
  const auto place = static_cast<std::uint32_t>(graph_.shown.size());
  graph_.shown.push_back({kind, name, std::move(ends)});
  ends.assign(1, place);
}

void Capture::work(std::uint32_t stream, int device, const Operation& operation) {
  GraphNode node;
  node.device = device;
  node.branch = branch_of(stream);
  node.name = operation.name;
  node.accesses.assign(operation.accesses.begin(), operation.accesses.end());
  node.body = operation.body;
  node.host_function = operation.host_function;
  show(node.branch, operation.kind, operation.name);
  add(std::move(node));
}

std::uint32_t Capture::record(std::uint32_t stream) {
  return record_on(branch_of(stream));
}

void Capture::wait(std::uint32_t stream, std::uint32_t token) {
  wait_on(branch_of(stream), token);
}

std::uint32_t Capture::record_on(std::uint32_t branch) {
  GraphNode node;
  node.kind = GraphNode::Kind::record;
  node.branch = branch;
  node.token = static_cast<std::uint32_t>(tokens_.size());
  node.name = "event record";
  const std::uint32_t token = node.token;
  tokens_.push_back({branches_[branch].known, branches_[branch].ends});
  add(std::move(node));
  return token;
}

void Capture::wait_on(std::uint32_t branch, std::uint32_t token) {
  GraphNode node;
  node.kind = GraphNode::Kind::wait;
  node.branch = branch;
  node.token = token;
  node.name = "event wait";
  branches_[branch].known.join(tokens_[token].known);
  const std::vector<std::uint32_t> own = std::move(branches_[branch].ends);
  const std::vector<std::uint32_t>& other = tokens_[token].ends;
  branches_[branch].ends.clear();
  std::set_union(own.begin(), own.end(), other.begin(), other.end(), std::back_inserter(branches_[branch].ends));
  add(std::move(node));
}

void Capture::append(std::uint32_t stream, const GraphState& graph) {
  std::vector<std::uint32_t> branches{branch_of(stream)};
  show(branches[0], NodeKind::child_graph, "graph launch");
  count(branches[0]);  // an empty graph is a node too
  const std::vector<std::uint32_t> child = branches_[branches[0]].ends;
  while (branches.size() < graph.branches) branches.push_back(add_branch());
  if (graph.branches > 1) {
    const std::uint32_t start = record_on(branches[0]);
    for (std::size_t i = 1; i < branches.size(); ++i) wait_on(branches[i], start);
  }
  std::vector<std::uint32_t> tokens(graph.tokens);  // the graph's to this capture's
  for (const GraphNode& node : graph.nodes) {
    switch (node.kind) {
      case GraphNode::Kind::work: {
        GraphNode copy = node;
        copy.branch = branches[node.branch];
        add(std::move(copy));
        break;
      }
      case GraphNode::Kind::record:
        tokens[node.token] = record_on(branches[node.branch]);
        break;
      case GraphNode::Kind::wait:
        wait_on(branches[node.branch], tokens[node.token]);
        break;
    }
  }
  for (std::size_t i = 1; i < branches.size(); ++i) wait_on(branches[0], record_on(branches[i]));
  branches_[branches[0]].ends = child;
}

bool Capture::joined() const {
  for (std::uint32_t i = 1; i < branches_.size(); ++i) {
    if (branches_[0].known.at(i) < branches_[i].nodes) return false;
  }
  return true;
}

GraphState Capture::finish() {
  graph_.device = device_;
  graph_.branches = static_cast<std::uint32_t>(branches_.size());
  graph_.tokens = static_cast<std::uint32_t>(tokens_.size());
  return std::move(graph_);
}

}  // namespace gapless::driver::sim

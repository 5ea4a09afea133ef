// SPDX-License-Identifier: Apache-2.0
#include "driver/sim/capture.hpp"

#include <algorithm>
#include <utility>

namespace gapless::driver::sim {

std::uint32_t Capture::branch_of(std::uint32_t stream) {
  const auto it = std::find(members_.begin(), members_.end(), stream);
  const auto branch = static_cast<std::uint32_t>(it - members_.begin());
  if (it == members_.end()) {
    members_.push_back(stream);
    branches_.emplace_back();
  }
  return branch;
}

void Capture::add(GraphNode node) {
  Branch& branch = branches_[node.branch];
  if (node.kind != GraphNode::Kind::record) branch.known.set(node.branch, ++branch.nodes);
  if (node.kind == GraphNode::Kind::work) ++graph_.work_nodes;
  if (node.body || !node.accesses.empty() || node.branch != 0) graph_.opaque = false;
  graph_.nodes.push_back(std::move(node));
}

void Capture::work(std::uint32_t stream, const Operation& operation) {
  GraphNode node;
  node.branch = branch_of(stream);
  node.name = operation.name;
  node.accesses.assign(operation.accesses.begin(), operation.accesses.end());
  node.body = operation.body;
  node.host_function = operation.host_function;
  add(std::move(node));
}

std::uint32_t Capture::record(std::uint32_t stream) {
  GraphNode node;
  node.kind = GraphNode::Kind::record;
  node.branch = branch_of(stream);
  node.token = static_cast<std::uint32_t>(tokens_.size());
  node.name = "event record";
  tokens_.push_back(branches_[node.branch].known);
  add(std::move(node));
  return static_cast<std::uint32_t>(tokens_.size() - 1);
}

void Capture::wait(std::uint32_t stream, std::uint32_t token) {
  GraphNode node;
  node.kind = GraphNode::Kind::wait;
  node.branch = branch_of(stream);
  node.token = token;
  node.name = "event wait";
  branches_[node.branch].known.join(tokens_[token]);
  add(std::move(node));
}

void Capture::append(std::uint32_t stream, const GraphState& graph) {
  const std::uint32_t branch = branch_of(stream);
  for (GraphNode node : graph.nodes) {
    if (node.kind != GraphNode::Kind::work) continue;  // one branch: its own records and waits order nothing
    node.branch = branch;
    add(std::move(node));
  }
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

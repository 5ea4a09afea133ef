// SPDX-License-Identifier: Apache-2.0
// Machine: the nodes of a graph, as a program sees them, while its capture is under way and after it.
#include <algorithm>

#include "driver/sim/core.hpp"
#include "driver/sim/machine.hpp"

namespace gapless::driver::sim {

Capture* Machine::Core::capture_numbered(std::uint64_t id) {
  const auto it =
      std::find_if(captures.begin(), captures.end(), [&](const auto& c) { return c != nullptr && c->id() == id; });
  return it == captures.end() ? nullptr : it->get();
}

std::uint64_t Machine::Core::graph_of(Capture& capture) {
  if (capture.graph_handle == 0)
    capture.graph_handle = graphs.insert({.graph = nullptr, .capture = capture.id(), .nodes = {}});
  return capture.graph_handle;
}

const GraphState* Machine::Core::shown_graph(std::uint64_t graph) {
  const GraphEntry* entry = graphs.find(graph);
  if (entry == nullptr) return nullptr;
  if (entry->graph != nullptr) return entry->graph.get();
  const Capture* capture = capture_numbered(entry->capture);
  return capture != nullptr && !capture->invalidated() ? &capture->so_far() : nullptr;
}

const ShownNode* Machine::Core::shown_node(GraphNodeHandle node, NodeEntry& out) {
  const NodeEntry* entry = graph_nodes.find(handle_bits(node));
  const GraphState* state = entry != nullptr ? shown_graph(entry->graph) : nullptr;
  if (state == nullptr) return nullptr;
  out = *entry;
  return &state->shown[entry->place];
}

// Made when they are asked for: most graphs are only launched.
GraphNodeHandle Machine::Core::node_handle(std::uint64_t graph, std::uint32_t place) {
  std::vector<std::uint64_t>& made = graphs.find(graph)->nodes;
  while (made.size() <= place) made.push_back(graph_nodes.insert({graph, static_cast<std::uint32_t>(made.size())}));
  return as_handle(made[place]);
}

std::vector<GraphNodeHandle> Machine::Core::node_handles(std::uint64_t graph,
                                                         const std::vector<std::uint32_t>& places) {
  std::vector<GraphNodeHandle> out;
  out.reserve(places.size());
  for (const std::uint32_t place : places) out.push_back(node_handle(graph, place));
  return out;
}

void Machine::Core::forget_graph(std::uint64_t graph) {
  for (const std::uint64_t node : graphs.find(graph)->nodes) graph_nodes.erase(node);
  graphs.erase(graph);
}

Result Machine::graph_node_count(Graph graph, std::size_t& out) {
  const Lock lock = core_->enter();
  const GraphState* state = core_->shown_graph(handle_bits(graph));
  if (state == nullptr) return Result::invalid_value;
  out = state->shown.size();
  return Result::ok;
}

Result Machine::graph_nodes(Graph graph, bool roots_only, std::vector<GraphNodeHandle>& out) {
  const Lock lock = core_->enter();
  const GraphState* state = core_->shown_graph(handle_bits(graph));
  if (state == nullptr) return Result::invalid_value;
  out.clear();
  for (std::uint32_t place = 0; place < state->shown.size(); ++place) {
    if (roots_only && !state->shown[place].dependencies.empty()) continue;
    out.push_back(core_->node_handle(handle_bits(graph), place));
  }
  return Result::ok;
}

Result Machine::graph_edges(Graph graph, std::vector<GraphNodeHandle>& from, std::vector<GraphNodeHandle>& to) {
  const Lock lock = core_->enter();
  const GraphState* state = core_->shown_graph(handle_bits(graph));
  if (state == nullptr) return Result::invalid_value;
  from.clear();
  to.clear();
  for (std::uint32_t place = 0; place < state->shown.size(); ++place) {
    for (const std::uint32_t earlier : state->shown[place].dependencies) {
      from.push_back(core_->node_handle(handle_bits(graph), earlier));
      to.push_back(core_->node_handle(handle_bits(graph), place));
    }
  }
  return Result::ok;
}

Result Machine::graph_node_info(GraphNodeHandle node, NodeInfo& out) {
  const Lock lock = core_->enter();
  NodeEntry entry;
  const ShownNode* shown = core_->shown_node(node, entry);
  if (shown == nullptr) return Result::invalid_value;
  out = {shown->kind, shown->name};
  return Result::ok;
}

Result Machine::graph_node_dependencies(GraphNodeHandle node, std::vector<GraphNodeHandle>& out) {
  const Lock lock = core_->enter();
  NodeEntry entry;
  const ShownNode* shown = core_->shown_node(node, entry);
  if (shown == nullptr) return Result::invalid_value;
  out = core_->node_handles(entry.graph, shown->dependencies);
  return Result::ok;
}

Result Machine::graph_node_dependents(GraphNodeHandle node, std::vector<GraphNodeHandle>& out) {
  const Lock lock = core_->enter();
  NodeEntry entry;
  if (core_->shown_node(node, entry) == nullptr) return Result::invalid_value;
  const std::vector<ShownNode>& nodes = core_->shown_graph(entry.graph)->shown;
  std::vector<std::uint32_t> dependents;
  for (std::uint32_t later = entry.place + 1; later < nodes.size(); ++later) {
    const std::vector<std::uint32_t>& on = nodes[later].dependencies;
    if (std::binary_search(on.begin(), on.end(), entry.place)) dependents.push_back(later);
  }
  out = core_->node_handles(entry.graph, dependents);
  return Result::ok;
}

}  // namespace gapless::driver::sim

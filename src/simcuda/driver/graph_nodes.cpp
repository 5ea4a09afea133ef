// SPDX-License-Identifier: Apache-2.0
// What a graph holds: its nodes, what each is and depends on. They come from captures; nodes cannot be added or changed
// by hand (trampolines).
#include "simcuda/driver/graph_nodes.hpp"

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "simcuda/driver/api.hpp"

using namespace gapless::simcuda;

namespace {

using Handles = std::vector<sim::GraphNodeHandle>;

// The manner of all these calls: without `out` the number; else as many as there is room for, null in what is left.
void hand_out(const Handles& found, CUgraphNode* out, CUgraphEdgeData* edges, size_t* count) {
  if (out != nullptr) {
    for (std::size_t index = 0; index < *count; ++index) {
      out[index] = index < found.size() ? static_cast<CUgraphNode>(found[index]) : nullptr;
      if (edges != nullptr) edges[index] = {};
    }
  }
  if (out == nullptr || *count > found.size()) *count = found.size();
}

CUresult nodes_of(Machine* m, CUgraph graph, bool roots_only, CUgraphNode* nodes, size_t* count) {
  GAPLESS_SIM_REQUIRE(graph != nullptr && count != nullptr);
  Handles found;
  const Result result = m->graph_nodes(graph, roots_only, found);
  if (result == Result::ok) hand_out(found, nodes, nullptr, count);
  return to_cuda(result);
}

using Neighbours = Result (Machine::*)(sim::GraphNodeHandle, Handles&);

CUresult neighbours_of(Machine* m, CUgraphNode node, Neighbours neighbours, CUgraphNode* out, CUgraphEdgeData* edges,
                       size_t* count) {
  GAPLESS_SIM_REQUIRE(node != nullptr && count != nullptr && (edges == nullptr || out != nullptr));
  Handles found;
  const Result result = (m->*neighbours)(node, found);
  if (result == Result::ok) hand_out(found, out, edges, count);
  return to_cuda(result);
}

}  // namespace

const CUgraphEdgeData* gapless::simcuda::plain_edges(std::size_t count) {
  static std::mutex mutex;
  // A longer one does not end a shorter one, at which somebody may still look.
  static auto& blocks = *new std::vector<std::vector<CUgraphEdgeData>>;
  const std::lock_guard lock(mutex);
  if (blocks.empty() || blocks.back().size() < count) {
    const std::size_t before = blocks.empty() ? 32 : blocks.back().size();
    blocks.emplace_back(std::max(count, 2 * before));
  }
  return blocks.back().data();
}

GAPLESS_SIM_API cuGraphGetNodes(CUgraph graph, CUgraphNode* nodes, size_t* count) {
  GAPLESS_SIM_CALL("cuGraphGetNodes");
  return nodes_of(m, graph, false, nodes, count);
}

GAPLESS_SIM_API cuGraphGetRootNodes(CUgraph graph, CUgraphNode* nodes, size_t* count) {
  GAPLESS_SIM_CALL("cuGraphGetRootNodes");
  return nodes_of(m, graph, true, nodes, count);
}

GAPLESS_SIM_API cuGraphGetEdges(CUgraph graph, CUgraphNode* from, CUgraphNode* to, CUgraphEdgeData* edges,
                                size_t* count) {
  GAPLESS_SIM_CALL("cuGraphGetEdges");
  GAPLESS_SIM_REQUIRE(graph != nullptr && count != nullptr && (from == nullptr) == (to == nullptr));
  GAPLESS_SIM_REQUIRE(edges == nullptr || from != nullptr);
  Handles starts;
  Handles ends;
  const Result result = m->graph_edges(graph, starts, ends);
  if (result != Result::ok) return to_cuda(result);
  std::size_t room = *count;
  hand_out(starts, from, edges, &room);
  hand_out(ends, to, nullptr, count);
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType* type) {
  GAPLESS_SIM_CALL("cuGraphNodeGetType");
  GAPLESS_SIM_REQUIRE(node != nullptr && type != nullptr);
  sim::NodeInfo info;
  const Result result = m->graph_node_info(node, info);
  if (result == Result::ok) *type = static_cast<CUgraphNodeType>(info.kind);
  return to_cuda(result);
}

GAPLESS_SIM_API cuGraphNodeGetDependencies(CUgraphNode node, CUgraphNode* dependencies, CUgraphEdgeData* edges,
                                           size_t* count) {
  GAPLESS_SIM_CALL("cuGraphNodeGetDependencies");
  return neighbours_of(m, node, &Machine::graph_node_dependencies, dependencies, edges, count);
}

GAPLESS_SIM_API cuGraphNodeGetDependentNodes(CUgraphNode node, CUgraphNode* dependents, CUgraphEdgeData* edges,
                                             size_t* count) {
  GAPLESS_SIM_CALL("cuGraphNodeGetDependentNodes");
  return neighbours_of(m, node, &Machine::graph_node_dependents, dependents, edges, count);
}

GAPLESS_SIM_API cuGraphDebugDotPrint(CUgraph graph, const char* path, unsigned) {
  GAPLESS_SIM_CALL("cuGraphDebugDotPrint");
  GAPLESS_SIM_REQUIRE(graph != nullptr && path != nullptr);
  Handles nodes;
  Handles from;
  Handles to;
  Result result = m->graph_nodes(graph, false, nodes);
  if (result == Result::ok) result = m->graph_edges(graph, from, to);
  if (result != Result::ok) return to_cuda(result);
  std::unordered_map<sim::GraphNodeHandle, std::size_t> number;
  for (const sim::GraphNodeHandle node : nodes) number.emplace(node, number.size() + 1);
  std::FILE* file = std::fopen(path, "w");
  if (file == nullptr) return CUDA_ERROR_OPERATING_SYSTEM;
  std::fprintf(file, "digraph simulated {\n");
  for (const sim::GraphNodeHandle node : nodes) {
    sim::NodeInfo info;
    if (m->graph_node_info(node, info) == Result::ok) {
      std::fprintf(file, "  \"%zu\" [label=\"%s\"];\n", number[node], info.name);
    }
  }
  for (std::size_t edge = 0; edge < from.size(); ++edge) {
    std::fprintf(file, "  \"%zu\" -> \"%zu\";\n", number[from[edge]], number[to[edge]]);
  }
  std::fprintf(file, "}\n");
  return std::fclose(file) == 0 ? CUDA_SUCCESS : CUDA_ERROR_OPERATING_SYSTEM;
}

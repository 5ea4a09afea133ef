// SPDX-License-Identifier: Apache-2.0
// Machine: graphs and their launches.
#include <utility>

#include "driver/sim/core.hpp"
#include "driver/sim/machine.hpp"

namespace gapless::driver::sim {

const std::shared_ptr<const GraphState>* Machine::Core::captured_graph(Graph graph) {
  const GraphEntry* found = graphs.find(handle_bits(graph));
  return found != nullptr && found->graph != nullptr ? &found->graph : nullptr;
}

Result Machine::graph_destroy(Graph graph) {
  const Lock lock = core_->enter();
  const auto* state = core_->captured_graph(graph);
  if (state == nullptr) return Result::invalid_value;
  if (const Result result = core_->device_state((*state)->device); result != Result::ok) return result;
  core_->forget_graph(handle_bits(graph));
  return Result::ok;
}

void Machine::Core::set_branches(GraphExecState& exec, int device) {
  for (const std::uint32_t id : exec.streams) scheduler.retire_stream(id);
  exec.streams.clear();
  StreamFlags flags;
  flags.non_blocking = true;
  for (std::uint32_t i = 1; i < exec.graph->branches; ++i) exec.streams.push_back(add_stream(device, flags));
}

Result Machine::graph_instantiate(Graph graph, GraphExec& out) {
  const Lock lock = core_->enter();
  const auto* state = core_->captured_graph(graph);
  if (state == nullptr) return Result::invalid_value;
  if (const Result result = core_->device_state((*state)->device); result != Result::ok) return result;
  GraphExecState exec;
  exec.graph = *state;
  core_->set_branches(exec, exec.graph->device);
  out = as_handle(core_->graph_execs.insert(std::move(exec)));
  return Result::ok;
}

Result Machine::graph_exec_update(GraphExec exec, Graph graph) {
  const Lock lock = core_->enter();
  GraphExecState* state = core_->graph_execs.find(handle_bits(exec));
  const auto* source = core_->captured_graph(graph);
  if (state == nullptr || source == nullptr) return Result::invalid_value;
  if (const Result result = core_->device_state((*source)->device); result != Result::ok) return result;
  state->graph = *source;
  core_->set_branches(*state, state->graph->device);
  return Result::ok;
}

Result Machine::graph_exec_destroy(GraphExec exec) {
  const Lock lock = core_->enter();
  GraphExecState* state = core_->graph_execs.find(handle_bits(exec));
  if (state == nullptr) return Result::invalid_value;
  if (const Result result = core_->device_state(state->graph->device); result != Result::ok) return result;
  for (const std::uint32_t id : state->streams) core_->scheduler.retire_stream(id);
  core_->graph_execs.erase(handle_bits(exec));
  return Result::ok;
}

Result Machine::graph_upload(int device, GraphExec exec, Stream stream) {
  const Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  return core_->graph_execs.find(handle_bits(exec)) != nullptr ? Result::ok : Result::invalid_value;
}

Result Machine::graph_launch(int device, GraphExec exec, Stream stream) {
  Lock lock = core_->enter();
  StreamState* launching = nullptr;
  if (const Result result = core_->use_stream(device, stream, launching); result != Result::ok) return result;
  GraphExecState* state = core_->graph_execs.find(handle_bits(exec));
  if (state == nullptr) return Result::invalid_value;
  if (const Result result = core_->usable(*launching); result != Result::ok) return result;
  if (Capture* capture = core_->capture_of(*launching)) {
    capture->append(launching->id, *state->graph);
    return Result::ok;
  }
  if (state->last.position != 0 && state->last.stream != launching->id) {
    core_->enqueue_marker(*launching, &state->last, core_->strict() ? &state->last_clock : nullptr);
  }
  if (state->graph->opaque) {
    Operation operation;
    operation.name = "graph launch";
    core_->enqueue(state->graph->device, *launching, operation, {});
  } else {
    core_->replay(*launching, *state);
  }
  state->last = {launching->id, launching->issued};
  if (core_->strict()) state->last_clock = launching->clock;
  core_->scheduler.tick(lock);
  return Result::ok;
}

// Submits the captured calls again. Branches start after what the launching stream holds and end before what it gets.
void Machine::Core::replay(StreamState& launching, const GraphExecState& exec) {
  const GraphState& graph = *exec.graph;
  struct Token {
    Position at;
    Clock clock;
  };
  std::vector<Token> tokens(graph.tokens);
  const auto branch = [&](std::uint32_t i) -> StreamState& {
    return i == 0 ? launching : scheduler.stream(exec.streams[i - 1]);
  };
  enqueue_marker(launching, nullptr, nullptr);
  const Position start{launching.id, launching.issued};
  for (std::uint32_t i = 1; i < graph.branches; ++i) enqueue_marker(branch(i), &start, &launching.clock);
  for (const GraphNode& node : graph.nodes) {
    StreamState& stream = branch(node.branch);
    switch (node.kind) {
      case GraphNode::Kind::work: {
        Operation operation;
        operation.name = node.name;
        operation.accesses = node.accesses;
        operation.body = node.body;
        operation.host_function = node.host_function;
        enqueue(node.device, stream, operation, {});
        break;
      }
      case GraphNode::Kind::record:
        tokens[node.token] = {{stream.id, stream.issued}, stream.clock};
        break;
      case GraphNode::Kind::wait:
        enqueue_marker(stream, &tokens[node.token].at, &tokens[node.token].clock);
        break;
    }
  }
  for (std::uint32_t i = 1; i < graph.branches; ++i) {
    const Position end{branch(i).id, branch(i).issued};
    enqueue_marker(launching, &end, &branch(i).clock);
  }
}

}  // namespace gapless::driver::sim

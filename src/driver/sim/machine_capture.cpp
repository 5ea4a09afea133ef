// SPDX-License-Identifier: Apache-2.0
// Machine: captures and graphs.
#include <algorithm>
#include <utility>

#include "driver/sim/core.hpp"
#include "driver/sim/machine.hpp"

namespace gapless::driver::sim {

Result Machine::Core::capture_wait(StreamState& waiting, const EventState& event) {
  const auto it = std::find_if(captures.begin(), captures.end(),
                               [&](const auto& c) { return c != nullptr && c->id() == event.capture; });
  if (it == captures.end()) {
    common.violate("CAP-6",
                   text("stream %u waits for an event of capture %llu, which is over", waiting.id, ull(event.capture)));
    return code::captured_event;
  }
  Capture* own = capture_of(waiting);
  if (own != nullptr && own != it->get() &&
      common.violate("CAP-6", text("stream %u would join captures %llu and %llu", waiting.id, ull(own->id()),
                                   ull(event.capture)))) {
    own->invalidate();
    (*it)->invalidate();
    return code::capture_merge;
  }
  if (waiting.legacy &&
      common.violate("CAP-3", text("the legacy stream waits for an event of capture %llu", ull(event.capture)))) {
    (*it)->invalidate();
    return Result::stream_capture_implicit;
  }
  waiting.capture = static_cast<std::uint32_t>(it - captures.begin()) + 1;
  (*it)->wait(waiting.id, event.token);
  return Result::ok;
}

Result Machine::begin_capture(int device, Stream stream, CaptureMode mode) {
  const Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  if (state->legacy && core_->common.violate("CAP-3", "the legacy stream cannot capture")) {
    return Result::stream_capture_unsupported;
  }
  if (state->capture != 0 && core_->common.violate("CAP-5", text("stream %u captures already", state->id))) {
    return Result::invalid_value;
  }
  std::vector<std::unique_ptr<Capture>>& captures = core_->captures;
  const auto slot = std::find(captures.begin(), captures.end(), nullptr);
  const auto index = static_cast<std::size_t>(slot - captures.begin());
  if (slot == captures.end()) captures.emplace_back();
  captures[index] =
      std::make_unique<Capture>(++core_->capture_ids, state->device, mode, core_->threads.current().id, state->id);
  state->capture = static_cast<std::uint32_t>(index) + 1;
  ++core_->active_captures;
  return Result::ok;
}

Result Machine::end_capture(int device, Stream stream, Graph& out) {
  const Lock lock = core_->enter();
  out = nullptr;
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  Capture* capture = core_->capture_of(*state);
  if (capture == nullptr || capture->origin() != state->id) {
    core_->common.violate("CAP-4", text("stream %u ends a capture that it did not begin", state->id));
    if (capture != nullptr) capture->invalidate();
    return capture == nullptr ? Result::invalid_value : code::capture_unmatched;
  }
  if (capture->mode() != CaptureMode::relaxed && capture->thread() != core_->threads.current().id &&
      core_->common.violate("CAP-4", text("capture %llu ends on another thread than it began", ull(capture->id())))) {
    return code::capture_wrong_thread;
  }
  Result result = capture->invalidated() ? Result::stream_capture_invalidated : Result::ok;
  if (result == Result::ok && !capture->joined() &&
      core_->common.violate("CAP-7", text("capture %llu ends while work of a stream that joined it is not waited for",
                                          ull(capture->id())))) {
    result = code::capture_unjoined;
  }
  for (const std::uint32_t member : capture->members()) core_->scheduler.stream(member).capture = 0;
  if (result == Result::ok) {
    auto graph = std::make_shared<const GraphState>(capture->finish());
    if (capture->graph_handle == 0) capture->graph_handle = core_->graphs.insert(nullptr);
    *core_->graphs.find(capture->graph_handle) = std::move(graph);
    out = as_handle(capture->graph_handle);
  } else if (capture->graph_handle != 0) {
    core_->graphs.erase(capture->graph_handle);
  }
  const auto slot =
      std::find_if(core_->captures.begin(), core_->captures.end(), [&](const auto& c) { return c.get() == capture; });
  slot->reset();
  --core_->active_captures;
  return result;
}

Result Machine::capture_info(int device, Stream stream, CaptureInfo& out) {
  const Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  out = {};
  // cuStreamGetCaptureInfo of the legacy stream: implicit error while a stream that synchronises with it captures. The
  // question alone invalidates nothing.
  if (state->legacy && core_->active_captures != 0) {
    for (const auto& capture : core_->captures) {
      if (capture == nullptr || capture->device() != state->device) continue;
      for (const std::uint32_t member : capture->members()) {
        if (!core_->scheduler.stream(member).flags.non_blocking) return Result::stream_capture_implicit;
      }
    }
  }
  if (const Capture* capture = core_->capture_of(*state)) {
    out.status = capture->invalidated() ? CaptureStatus::invalidated : CaptureStatus::active;
    out.id = capture->id();
  }
  return Result::ok;
}

Result Machine::capture_graph(int device, Stream stream, Graph& out) {
  const Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  Capture* capture = core_->capture_of(*state);
  if (capture == nullptr) return Result::invalid_value;
  if (capture->graph_handle == 0) capture->graph_handle = core_->graphs.insert(nullptr);
  out = as_handle(capture->graph_handle);
  return Result::ok;
}

Result Machine::exchange_capture_mode(int& mode) {
  const Lock lock = core_->enter();
  if (mode < 0 || mode > 2) return Result::invalid_value;
  HostThread& thread = core_->threads.current();
  const int before = static_cast<int>(thread.mode);
  thread.mode = static_cast<CaptureMode>(mode);
  mode = before;
  return Result::ok;
}

const std::shared_ptr<const GraphState>* Machine::Core::captured_graph(Graph graph) {
  const auto* found = graphs.find(handle_bits(graph));
  return found != nullptr && *found != nullptr ? found : nullptr;
}

Result Machine::graph_node_count(Graph graph, std::size_t& out) {
  const Lock lock = core_->enter();
  const auto* state = core_->captured_graph(graph);
  if (state == nullptr) return Result::invalid_value;
  out = (*state)->work_nodes;
  return Result::ok;
}

Result Machine::graph_destroy(Graph graph) {
  const Lock lock = core_->enter();
  const auto* state = core_->captured_graph(graph);
  if (state == nullptr) return Result::invalid_value;
  if (const Result result = core_->device_state((*state)->device); result != Result::ok) return result;
  core_->graphs.erase(handle_bits(graph));
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

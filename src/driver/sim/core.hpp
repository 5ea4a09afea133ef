// SPDX-License-Identifier: Apache-2.0
// The machine's state behind its one lock, and what the parts of Machine's implementation share.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "driver/sim/capture.hpp"
#include "driver/sim/common.hpp"
#include "driver/sim/host_threads.hpp"
#include "driver/sim/machine.hpp"
#include "driver/sim/memory.hpp"
#include "driver/sim/scheduler.hpp"
#include "driver/sim/slot_table.hpp"

namespace gapless::driver::sim {

struct EventState {
  int device = 0;
  std::uint64_t id = 0;
  bool timed = true;
  bool interprocess = false;
  bool recorded = false;
  Position at;                  // of the last record
  Clock clock;                  // strict: what was ordered before it
  std::uint64_t operation = 0;  // of the record: the modelled time
  std::uint64_t capture = 0;    // id of the capture that recorded it; 0: none
  std::uint32_t token = 0;
  unsigned polls = 0;  // queries that found it pending, since anything else happened to it
};

class Machine::Core {
 public:
  explicit Core(const Config& config);

  // ---- every call
  Lock enter() { return Lock(mutex); }
  Result valid_device(int device);                   // ok or invalid_device
  Result refuse_in_host_function(const char* call);  // not_permitted
  Result host_state();                               // ok, or that inside a host function
  // ok; invalid_device; not_permitted inside a host function; the sticky error of a poisoned device
  Result device_state(int device);
  // The same for calls that name no device: of the device of a handle, of what is mapped at an address; of any device.
  Result handle_state(Handle handle);
  Result range_state(Address base);
  Result process_state();
  Result exportable(Handle handle, bool HandleProperties::*kind);  // HDL-2, HDL-3
  Result import(const SharedMemory& named, const std::string& what, const HandleProperties& properties,
                Handle& out);  // HDL-4
  bool strict() const { return common.config.strict; }
  const Clock* known() { return strict() ? &threads.clock() : nullptr; }

  // ---- streams
  // Null, with STR-1 reported, where the handle names no live stream.
  StreamState* resolve(int device, Stream stream);
  // What every call on a stream begins with: the states of the current device and of the stream's; invalid_handle.
  Result use_stream(int device, Stream stream, StreamState*& out);
  std::uint32_t add_stream(int device, StreamFlags flags);
  StreamState& legacy(int device) { return scheduler.stream(static_cast<std::uint32_t>(device)); }
  // The work's place in stream order: submits, checks accesses (strict), lets the schedule act.
  Result submit(Lock& lock, StreamState& stream, const Operation& operation);
  void enqueue(int device, StreamState& stream, const Operation& operation, StreamState::Pending pending);
  // Calls f with each stream whose earlier work the next operation of `stream` follows without being told: the legacy
  // default stream's work waits for all earlier work of the device's blocking streams, and theirs for its own.
  template <typename F>
  void for_each_implicit(const StreamState& stream, F&& f) {
    if (stream.legacy) {
      for (const std::uint32_t id : blocking_streams[static_cast<std::size_t>(stream.device)]) f(scheduler.stream(id));
    } else if (!stream.flags.non_blocking) {
      f(legacy(stream.device));
    }
  }
  // strict: what the stream's next operation follows without being told, the calling thread's knowledge included.
  void learn_implicit(StreamState& stream);
  // A position after everything in `stream` so far, its legacy-stream edges included.
  void enqueue_marker(StreamState& stream, const Position* wait, const Clock* clock);
  void finish_and_learn(Lock& lock, StreamState& stream);
  void finish_device_and_learn(Lock& lock, int device);
  // Before memory goes away: for the device's work, where that `orders`, else only for bodies that would run into it.
  void wait_before_free(Lock& lock, int device, bool orders);
  void trim_pools_on_synchronize(int device);
  void synchronised(Lock& lock, int stream_id);  // leaves the lock, then calls the callback

  bool is_pinned(const void* address, std::size_t bytes = 1) const;
  int owner_of(Address address, int otherwise) const;

  // ---- events
  // Null, with EVT-1 reported, where the handle names no live event.
  EventState* event(Event event, const char* call);

  // ---- capture
  Capture* capture_of(const StreamState& stream) {
    return stream.capture == 0 ? nullptr : captures[stream.capture - 1].get();
  }
  // ok, or the error of using `stream` for work: the legacy stream while a blocking stream captures (CAP-3), an
  // invalidated capture.
  Result usable(StreamState& stream);
  // ok, or stream_capture_unsupported, having invalidated the captures that forbid a potentially unsafe call (CAP-1).
  Result safe_in_capture(const char* call);
  // ok, or the error of waiting for or querying something that takes part in a capture (CAP-2).
  Result refuse_captured(Capture* capture, const char* call);
  Result refuse_captured_device(int device, const char* call);
  Result refuse_captured_event(const EventState& event, const char* call);
  Result capture_wait(StreamState& waiting, const EventState& event);
  Capture* capture_numbered(std::uint64_t id);  // null: it is over
  std::uint64_t graph_of(Capture& capture);     // the handle of what it becomes
  // Null while its capture is under way, and for what is no graph.
  const std::shared_ptr<const GraphState>* captured_graph(Graph graph);
  // The graph, or what its capture has so far; null for what is neither.
  const GraphState* shown_graph(std::uint64_t graph);
  // Null for what is no node, or none any more.
  const ShownNode* shown_node(GraphNodeHandle node, NodeEntry& out);
  GraphNodeHandle node_handle(std::uint64_t graph, std::uint32_t place);
  std::vector<GraphNodeHandle> node_handles(std::uint64_t graph, const std::vector<std::uint32_t>& places);
  void forget_graph(std::uint64_t graph);  // its nodes' handles with it
  void set_branches(GraphExecState& exec, int device);
  void replay(StreamState& launching, const GraphExecState& exec);

  const int number;  // of the process's machines
  Common common;
  std::mutex mutex;
  Memory memory;
  Scheduler scheduler;
  HostThreads threads;
  SlotTable<std::uint32_t> stream_handles{1};
  SlotTable<EventState> events{2};
  SlotTable<GraphEntry> graphs{4};
  SlotTable<GraphExecState> graph_execs{5};
  SlotTable<NodeEntry> graph_nodes{6};
  std::vector<std::unique_ptr<Capture>> captures;  // by StreamState::capture - 1
  std::size_t active_captures = 0;
  std::vector<Result> sticky;                                // of each device
  std::vector<std::vector<std::uint32_t>> blocking_streams;  // of each device, without the legacy stream
  std::map<const void*, std::size_t> pinned;
  std::set<std::string, std::less<>> names;
  std::uint64_t event_ids = 0;
  std::uint64_t capture_ids = 0;
  std::atomic<void (*)(int)> on_synchronize{nullptr};
};

inline std::uint64_t handle_bits(const void* handle) {
  return reinterpret_cast<std::uint64_t>(handle);
}
inline void* as_handle(std::uint64_t bits) {
  return reinterpret_cast<void*>(bits);
}

}  // namespace gapless::driver::sim

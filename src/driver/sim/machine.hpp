// SPDX-License-Identifier: Apache-2.0
// The simulated machine: N devices behind one lock, and the only type that the libraries over it and the tests use.
//
// Every call is thread-safe, returns CUresult codes, and changes nothing when it fails. `device` is the device whose
// context the caller has current. A broken rule of docs/driver_contract.md is returned as the error that a real device
// gives, where it gives one, and recorded (violations()) whatever it returns.
//
// Determinism: no decision reads a clock, an address of the host or a hash; the same calls with the same Config give
// the same results, addresses and reports.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "driver/driver.hpp"
#include "driver/sim/config.hpp"
#include "driver/sim/types.hpp"

namespace gapless::driver::sim {

class Machine {
 public:
  explicit Machine(const Config& config);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  const Config& config() const;

  // ---- Devices
  int device_count() const;
  Result device_info(int device, DeviceInfo& out);
  Result memory_info(int device, MemoryInfo& out);
  std::uint64_t physical_bytes(int device);  // in use by this process
  std::uint64_t physical_bytes_peak(int device);
  void reset_physical_peak(int device);
  void set_size(int device, std::uint64_t bytes);  // capacity, from now on
  void set_other_process_bytes(int device, std::uint64_t bytes);
  // Whether the calling thread is inside a host function or a kernel's body, which call no CUDA: for libraries over the
  // machine, whose calls the machine does not all see; and what such a call gives, with HOST-1 recorded under its name.
  static bool inside_host_function();
  Result refuse_in_host_function(const char* call);
  // Every later call on the device fails with `error`, as after an illegal access on real hardware.
  void poison(int device, Result error);

  // ---- cuMemAlloc, cuMemFree
  Result allocate(int device, std::size_t bytes, Address& out);
  Result free(int device, Address base);  // of allocate, or of pool_allocate
  // ---- cuMemAllocAsync on a device's default pool (idealised: no fragmentation). In a capture both are not_supported:
  // nodes that allocate and free are not simulated. `pool`: whose pool; -1: that of the stream's device.
  Result pool_allocate(int device, std::size_t bytes, Stream stream, Address& out, int pool = -1);
  Result pool_free(int device, Address base, Stream stream);
  Result pool_stats(int device, PoolStats& out);
  Result pool_set_release_threshold(int device, std::uint64_t bytes);
  Result pool_reset_high(int device, bool reserved, bool used);
  Result pool_trim(int device, std::uint64_t keep_bytes);
  // ---- Virtual memory
  Result address_reserve(std::size_t bytes, std::size_t alignment, Address fixed, Address& out);
  Result address_free(Address base, std::size_t bytes);
  Result create(int device, std::size_t bytes, const HandleProperties& properties, Handle& out);
  Result release(Handle handle);
  Result retain(Address inside, Handle& out);  // cuMemRetainAllocationHandle
  Result handle_info(Handle handle, int& device, std::size_t& bytes, HandleProperties& properties);
  Result map(Address base, std::size_t bytes, std::size_t offset, Handle handle);
  Result unmap(Address base, std::size_t bytes);
  using Permission = sim::Permission;
  Result set_access(Address base, std::size_t bytes, std::span<const int> devices, Permission permission);
  Result get_access(Address inside, int device, Permission& out);
  // ---- Peers: `device` reaches what cuMemAlloc gave on `peer`, and what `pool`'s default pool gives. A mapping's
  // rights are set_access's alone. Errors: peer_access_already_enabled, peer_access_not_enabled.
  Result enable_peer_access(int device, int peer);
  Result disable_peer_access(int device, int peer);
  Result pool_set_access(int pool, int device, Permission permission);
  Result pool_get_access(int pool, int device, Permission& out);
  // ---- Memory of other processes, which counts there and not here: sharing.cpp
  Result export_posix_fd(Handle handle, int& out);
  Result import_posix_fd(int fd, Handle& out);
  Result export_fabric(Handle handle, SharedMemory& out);
  Result import_fabric(const SharedMemory& memory, Handle& out);
  Result ipc_share(Address inside, SharedMemory& out);        // of cuMemAlloc
  Result ipc_open(const SharedMemory& memory, Address& out);  // opened already: the same address, one close more is due
  Result ipc_close(Address base);
  // ---- Pinned host memory (the caller owns the bytes), which is every device's: both fail once one of them has
  Result host_register(const void* base, std::size_t bytes);
  Result host_unregister(const void* base);  // waits for all queued work
  // ---- Pointers
  bool is_device_address(Address address) const;  // inside the machine's virtual addresses; no lock
  PointerInfo find(Address inside);
  // Where the host finds the bytes of a device range; null without Config::data, or where it is not mapped all along.
  void* translate(Address base, std::size_t bytes);

  // ---- Streams and events
  Result stream_create(int device, StreamFlags flags, Stream& out);
  Result stream_destroy(int device, Stream stream);
  Result stream_info(int device, Stream stream, StreamFlags& flags, int& stream_device, std::uint64_t& id);
  // The number that stream_info gives, 0 for what is no live stream: to name a stream in a log, which breaks no rule.
  std::uint64_t stream_number(int device, Stream stream);
  Result stream_query(int device, Stream stream);  // ok or not_ready
  Result stream_synchronize(int device, Stream stream);
  Result stream_wait_event(int device, Stream stream, Event event);
  Result device_synchronize(int device);
  // `interprocess`: what it is recorded after is complete at once, so that other processes need not be told.
  Result event_create(int device, Event& out, bool timed = true, bool interprocess = false);
  Result event_destroy(Event event);
  Result event_share(Event event, std::uint64_t& id);  // of one that is interprocess
  Result event_record(int device, Event event, Stream stream);
  Result event_query(Event event);
  Result event_synchronize(Event event);
  Result event_elapsed(Event start, Event end, float& milliseconds);  // modelled: 1 us for each operation

  // ---- Work
  Result submit(int device, Stream stream, const Operation& operation);  // a kernel, a host function, a value write
  // Host or device memory on either side, told apart by address. `synchronous`: cudaMemcpy's semantics. A copy from
  // pageable host memory has read its source on return, one to pageable memory has completed. Strict mode knows no more
  // than is promised: after a synchronous copy to the host or from pinned memory, that it is complete.
  struct Copy {
    void* to = nullptr;
    const void* from = nullptr;
    std::size_t bytes = 0;  // of a row
    std::size_t rows = 1, to_pitch = 0, from_pitch = 0;
    bool synchronous = false;
    std::span<const int> peers = {};  // devices whose earlier work it follows, and whose later work follows it
    const char* name = "cuMemcpy";
  };
  Result copy(int device, Stream stream, const Copy& copy);
  struct Fill {
    Address to = 0;
    std::uint32_t value = 0;
    std::size_t width = 1;     // bytes of an element: 1, 2 or 4
    std::size_t elements = 0;  // of a row
    std::size_t rows = 1, pitch = 0;
    bool synchronous = false;
    const char* name = "cuMemset";
    NodeKind kind = NodeKind::fill;
  };
  Result fill(int device, Stream stream, const Fill& fill);
  const char* intern(std::string_view name);  // a pointer that lives as long as the machine

  // ---- Capture and graphs
  Result begin_capture(int device, Stream stream, CaptureMode mode);
  Result end_capture(int device, Stream stream, Graph& out);
  Result capture_info(int device, Stream stream, CaptureInfo& out);
  // The graph that the stream's capture becomes, the same handle as end_capture's: owned by the capture until then, and
  // only its nodes can be asked for before. invalid_value where the stream does not capture.
  Result capture_graph(int device, Stream stream, Graph& out);
  // What the stream's next captured node will depend on, in the order of their capture. The handles' place lasts until
  // the next call on the stream or the capture's end. invalid_value where the stream does not capture.
  Result capture_dependencies(int device, Stream stream, std::span<const GraphNodeHandle>& out);
  Result exchange_capture_mode(int& mode);  // of the calling thread
  // Nodes: in the order of their capture. A node's handle lives as long as its graph.
  Result graph_node_count(Graph graph, std::size_t& out);
  Result graph_nodes(Graph graph, bool roots_only, std::vector<GraphNodeHandle>& out);
  Result graph_edges(Graph graph, std::vector<GraphNodeHandle>& from, std::vector<GraphNodeHandle>& to);
  Result graph_node_info(GraphNodeHandle node, NodeInfo& out);
  Result graph_node_dependencies(GraphNodeHandle node, std::vector<GraphNodeHandle>& out);
  Result graph_node_dependents(GraphNodeHandle node, std::vector<GraphNodeHandle>& out);  // looks at all later nodes
  Result graph_destroy(Graph graph);
  Result graph_instantiate(Graph graph, GraphExec& out);
  Result graph_exec_update(GraphExec exec, Graph graph);
  Result graph_upload(int device, GraphExec exec, Stream stream);  // changes nothing that can be seen
  Result graph_launch(int device, GraphExec exec, Stream stream);
  Result graph_exec_destroy(GraphExec exec);

  // ---- Schedules (tests and replay)
  // As if `operations` unknown ones had been submitted to the legacy stream of `device`: what a trace's "+OPS" means.
  void advance(int device, std::uint64_t operations);
  // Completes up to `operations` of a stream whose dependencies are complete (Completion::manual); how many it did.
  std::uint64_t step(int device, Stream stream, std::uint64_t operations);
  std::uint64_t operations() const;  // submitted so far
  // strict with threads_separate: the calling thread publishes what it knows under `token`; another takes it over. How
  // a test tells the machine about its own locks and queues, which the machine cannot see.
  void host_release(std::uint64_t token);
  void host_acquire(std::uint64_t token);

  // ---- Counting and reporting
  // One id for each function name; count() is one relaxed increment. Names are static strings.
  int call_id(const char* name);
  void count(int id);
  std::uint64_t calls(std::string_view name);
  struct Count {
    std::string name;
    std::uint64_t calls = 0;
  };
  std::vector<Count> call_counts();  // by name, ascending; zeros left out
  void reset_call_counts();
  void violate(const char* rule, std::string text);  // for libraries over the machine: records as the machine does
  std::uint64_t violation_count() const;
  std::vector<Violation> violations();
  std::string stats_json();
  bool write_stats(const std::string& path);
  // Called, outside the lock, after a host synchronisation completed: the stream's id, or -1 for a whole device.
  void on_synchronize(void (*callback)(int));

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace gapless::driver::sim

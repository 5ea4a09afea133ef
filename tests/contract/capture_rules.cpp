// SPDX-License-Identifier: Apache-2.0
// CAP.
#include <thread>

#include "contract/world.hpp"

namespace gapless::contract {
namespace {

using driver::sim::CaptureMode;
using driver::sim::Graph;

Stream begin(World& w, CaptureMode mode = CaptureMode::global, bool non_blocking = true) {
  const Stream stream = w.stream(non_blocking);
  (void)w.machine.begin_capture(0, stream, mode);
  return stream;
}

void end(World& w, Stream stream) {
  Graph graph = nullptr;
  (void)w.machine.end_capture(0, stream, graph);
}

void query_an_event_in_a_capture(World& w, int mode) {
  const Event event = w.event();
  const Stream stream = begin(w);
  (void)w.driver.exchange_capture_mode(mode);
  (void)w.driver.event_query(0, event);
  (void)w.driver.exchange_capture_mode(mode);
  end(w, stream);
}

void legacy_work_in_a_capture(World& w, bool capture_non_blocking) {
  const Stream stream = begin(w, CaptureMode::relaxed, capture_non_blocking);
  w.use(nullptr, 0, false, "legacy work", 0);
  end(w, stream);
}

void end_on_another_thread(World& w, CaptureMode mode) {
  const Stream stream = begin(w, mode);
  std::thread([&] { end(w, stream); }).join();
}

void fork_and(World& w, bool join) {
  const Stream origin = begin(w);
  const Stream side = w.stream();
  w.order(origin, side);
  w.use(side, 0, false, "side work", 0);
  if (join) w.order(side, origin);
  end(w, origin);
}

// An event recorded in a capture, on the stream that captures.
Event recorded_in(World& w, Stream stream) {
  const Event event = w.event();
  (void)w.driver.event_record(0, event, stream);
  return event;
}

void query_an_event_of_a_capture(World& w, bool in_the_capture) {
  const Stream stream = begin(w, CaptureMode::relaxed);
  Event event = nullptr;
  if (in_the_capture) event = recorded_in(w, stream);
  end(w, stream);
  if (!in_the_capture) event = recorded_in(w, stream);
  (void)w.driver.event_query(0, event);
}

void wait_for_the_device(World& w, int device) {
  const Stream stream = begin(w, CaptureMode::relaxed);
  (void)w.driver.device_synchronize(device);
  end(w, stream);
}

void legacy_stream_joins(World& w, bool after_the_end) {
  const Stream stream = begin(w);
  Event event = recorded_in(w, stream);
  if (after_the_end) {
    end(w, stream);
    event = recorded_in(w, stream);
  }
  (void)w.driver.stream_wait_event(0, nullptr, event);
  if (!after_the_end) end(w, stream);
}

void wait_for_an_old_capture(World& w, bool recorded_again) {
  const Stream stream = begin(w);
  const Event event = recorded_in(w, stream);
  end(w, stream);
  if (recorded_again) (void)w.driver.event_record(0, event, stream);
  (void)w.driver.stream_wait_event(0, w.stream(), event);
}

void two_captures(World& w, bool merge) {
  const Stream first = begin(w);
  const Stream second = begin(w);
  const Event event = recorded_in(w, second);
  if (merge) (void)w.driver.stream_wait_event(0, first, event);
  end(w, second);
  end(w, first);
}

void end_a_side_stream(World& w, bool side) {
  const Stream origin = begin(w);
  const Stream joined = w.stream();
  w.order(origin, joined);
  if (side) end(w, joined);
  w.order(joined, origin);
  end(w, origin);
}

void two_devices(driver::sim::Config& config) {
  config.devices = 2;
}

// cuMemcpyPeer uses the other device's legacy stream too.
void copy_beside_a_peers_capture(World& w, bool capture_non_blocking) {
  const Stream stream = w.stream(capture_non_blocking, 1);
  Address base = 0;
  (void)w.machine.allocate(0, kGranule, base);
  (void)w.machine.begin_capture(1, stream, CaptureMode::relaxed);
  const int peer = 1;
  driver::sim::Machine::Copy copy;
  copy.to = reinterpret_cast<void*>(base);
  copy.from = reinterpret_cast<void*>(base + 512);
  copy.bytes = 512;
  copy.synchronous = true;
  copy.peers = {&peer, 1};
  (void)w.machine.copy(0, nullptr, copy);
  end(w, stream);
}

}  // namespace

std::vector<Case> capture_rules() {
  return {
      {"CAP-1", [](World& w) { query_an_event_in_a_capture(w, 0); },
       [](World& w) { query_an_event_in_a_capture(w, 2); }},
      {"CAP-2",
       [](World& w) {
         const Stream stream = begin(w, CaptureMode::relaxed);
         (void)w.driver.stream_synchronize(0, stream);
         end(w, stream);
       },
       [](World& w) {
         const Stream stream = begin(w, CaptureMode::relaxed);
         end(w, stream);
         (void)w.driver.stream_synchronize(0, stream);
       }},
      {"CAP-2", [](World& w) { query_an_event_of_a_capture(w, true); },
       [](World& w) { query_an_event_of_a_capture(w, false); }, nullptr, "EventOfAnOldCapture"},
      {"CAP-2", [](World& w) { wait_for_the_device(w, 0); },
       [](World& w) {
         (void)w.driver.device_synchronize(1);
         const Stream stream = begin(w, CaptureMode::relaxed);
         end(w, stream);
       },
       two_devices, "Device"},
      {"CAP-3", [](World& w) { (void)w.machine.begin_capture(0, nullptr, CaptureMode::global); },
       [](World& w) { end(w, begin(w, CaptureMode::global, false)); }, nullptr, "Begin"},
      {"CAP-3", [](World& w) { legacy_stream_joins(w, false); }, [](World& w) { legacy_stream_joins(w, true); },
       nullptr, "Join"},
      {"CAP-4", [](World& w) { end_a_side_stream(w, true); }, [](World& w) { end_a_side_stream(w, false); }, nullptr,
       "SideStream"},
      {"CAP-6", [](World& w) { wait_for_an_old_capture(w, false); }, [](World& w) { wait_for_an_old_capture(w, true); },
       nullptr, "OldCapture"},
      {"CAP-6", [](World& w) { two_captures(w, true); }, [](World& w) { two_captures(w, false); }, nullptr, "Merge"},
      {"CAP-3", [](World& w) { copy_beside_a_peers_capture(w, false); },
       [](World& w) { copy_beside_a_peers_capture(w, true); }, two_devices, "Peer"},
      {"CAP-3", [](World& w) { legacy_work_in_a_capture(w, false); },
       [](World& w) { legacy_work_in_a_capture(w, true); }},
      {"CAP-4", [](World& w) { end_on_another_thread(w, CaptureMode::global); },
       [](World& w) {
         const Stream stream = begin(w, CaptureMode::relaxed);
         std::thread([&] { end(w, stream); }).join();
       }},
      {"CAP-5",
       [](World& w) {
         const Stream stream = begin(w);
         (void)w.machine.begin_capture(0, stream, CaptureMode::global);
         end(w, stream);
       },
       [](World& w) {
         const Stream stream = begin(w);
         const Stream other = begin(w);
         end(w, other);
         end(w, stream);
       }},
      {"CAP-6",
       [](World& w) {
         const Event event = w.event();
         (void)w.driver.event_record(0, event, w.stream());
         const Stream stream = begin(w);
         (void)w.driver.stream_wait_event(0, stream, event);
         end(w, stream);
       },
       [](World& w) { fork_and(w, true); }},
      {"CAP-7", [](World& w) { fork_and(w, false); }, [](World& w) { fork_and(w, true); }},
  };
}

}  // namespace gapless::contract

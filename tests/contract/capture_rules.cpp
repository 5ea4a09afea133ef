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
  end(w, stream);  // after a relaxed one ended there: nothing left, and an error
}

void fork_and(World& w, bool join) {
  const Stream origin = begin(w);
  const Stream side = w.stream();
  w.order(origin, side);
  w.use(side, 0, false, "side work", 0);
  if (join) w.order(side, origin);
  end(w, origin);
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

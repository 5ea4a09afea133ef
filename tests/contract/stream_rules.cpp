// SPDX-License-Identifier: Apache-2.0
// STR, EVT, ERR, HOST.
#include <functional>

#include "contract/world.hpp"

namespace gapless::contract {
namespace {

void two_devices(driver::sim::Config& config) {
  config.devices = 2;
}

void record_on(World& w, int device) {
  const Event event = w.event(0);
  (void)w.driver.event_record(device, event, w.stream(true, device));
}

// cuMemcpyPeer on device 0 with the work of device 1.
void copy_with_a_peer(World& w, bool poisoned) {
  Address base = 0;
  (void)w.machine.allocate(0, kGranule, base);
  if (poisoned) w.machine.poison(1, Result::illegal_address);
  const int peer = 1;
  driver::sim::Machine::Copy copy;
  copy.to = reinterpret_cast<void*>(base);
  copy.from = reinterpret_cast<void*>(base + 512);
  copy.bytes = 512;
  copy.synchronous = true;
  copy.peers = {&peer, 1};
  (void)w.machine.copy(0, nullptr, copy);
}

// A kernel on a stream of `on_device`, while device 0 is current.
void launch_on_a_stream_of(World& w, int on_device) {
  driver::sim::Operation kernel;
  kernel.name = "kernel";
  kernel.kernel = true;
  (void)w.machine.submit(0, w.stream(true, on_device), kernel);
}

void in_a_host_function(World& w, const std::function<void()>& does) {
  const Stream stream = w.stream();
  driver::sim::Operation host_function;
  host_function.name = "host function";
  host_function.body = does;
  host_function.host_function = true;
  (void)w.machine.submit(0, stream, host_function);
  (void)w.driver.stream_synchronize(0, stream);
}

// Every call that work or memory of a device that failed could be used by.
void after_an_error(World& w, void (*does)(World&, Address base, Handle handle, Stream stream, Event event)) {
  const Address base = w.reserve(2);
  const Handle handle = w.create();
  w.map(base, handle);
  const Stream stream = w.stream();
  const Event event = w.event();
  w.machine.poison(0, Result::illegal_address);
  does(w, base, handle, stream, event);
}

}  // namespace

std::vector<Case> stream_rules() {
  return {
      {"STR-1",
       [](World& w) {
         const Stream stream = w.stream();
         (void)w.machine.stream_destroy(0, stream);
         (void)w.driver.stream_synchronize(0, stream);
       },
       [](World& w) {
         const Stream stream = w.stream();
         (void)w.driver.stream_synchronize(0, stream);
         (void)w.driver.stream_synchronize(0, nullptr);
         (void)w.driver.stream_synchronize(0, driver::sim::kPerThreadStream);
         (void)w.machine.stream_destroy(0, stream);
       }},
      {"EVT-1",
       [](World& w) {
         const Event event = w.event();
         (void)w.driver.event_destroy(0, event);
         (void)w.driver.event_query(0, event);
       },
       [](World& w) {
         const Stream stream = w.stream();
         const Event event = w.event();
         (void)w.driver.event_query(0, event);  // never recorded: complete
         (void)w.driver.event_record(0, event, stream);
         (void)w.driver.stream_wait_event(0, nullptr, event);
         (void)w.driver.event_destroy(0, event);  // while waited for: allowed
       }},
      {"EVT-1",
       [](World& w) {
         const Event event = w.event();
         (void)w.driver.event_destroy(0, event);
         (void)w.driver.stream_wait_event(0, w.stream(), event);
       },
       [](World& w) { (void)w.driver.stream_wait_event(0, w.stream(), w.event()); }, nullptr, "Wait"},
      {"EVT-2", [](World& w) { record_on(w, 1); }, [](World& w) { record_on(w, 0); }, two_devices},
      {"ERR-1",
       [](World& w) {
         w.machine.poison(0, Result::illegal_address);
         (void)w.driver.device_synchronize(0);
       },
       [](World& w) { (void)w.driver.device_synchronize(0); }},
      {"ERR-1",
       [](World& w) {
         after_an_error(
             w, [](World& world, Address base, Handle, Stream, Event) { (void)world.driver.unmap(base, kGranule); });
       },
       [](World& w) { (void)w.driver.unmap(w.mapped(), kGranule); }, nullptr, "Unmap"},
      {"ERR-1",
       [](World& w) {
         after_an_error(w, [](World& world, Address base, Handle handle, Stream, Event) {
           (void)world.driver.map(base + kGranule, kGranule, handle);
         });
       },
       [](World& w) { w.mapped(); }, nullptr, "Map"},
      {"ERR-1",
       [](World& w) {
         after_an_error(
             w, [](World& world, Address, Handle, Stream, Event event) { (void)world.driver.event_destroy(0, event); });
       },
       [](World& w) { (void)w.driver.event_destroy(0, w.event()); }, nullptr, "EventDestroy"},
      {"ERR-1",
       [](World& w) {
         w.machine.poison(1, Result::illegal_address);
         (void)w.driver.stream_synchronize(0, w.stream(true, 0));
         Address base = 0;
         (void)w.driver.address_reserve(kGranule, 0, base);
       },
       [](World& w) {
         w.machine.poison(1, Result::illegal_address);
         (void)w.driver.stream_synchronize(0, w.stream(true, 0));  // another device's error
       },
       two_devices, "Reserve"},
      {"ERR-1", [](World& w) { copy_with_a_peer(w, true); }, [](World& w) { copy_with_a_peer(w, false); }, two_devices,
       "Peer"},
      {"STR-2", [](World& w) { launch_on_a_stream_of(w, 1); }, [](World& w) { launch_on_a_stream_of(w, 0); },
       two_devices},
      {"HOST-1", [](World& w) { in_a_host_function(w, [&w] { (void)w.driver.stream_synchronize(0, nullptr); }); },
       [](World& w) {
         in_a_host_function(w, [] {});
         (void)w.driver.stream_synchronize(0, nullptr);
       }},
  };
}

}  // namespace gapless::contract

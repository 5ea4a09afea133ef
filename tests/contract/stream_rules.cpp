// SPDX-License-Identifier: Apache-2.0
// STR, EVT, ERR.
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
  };
}

}  // namespace gapless::contract

// SPDX-License-Identifier: Apache-2.0
// A simulated machine, the driver that a program of the contract goes through, and short words for what programs do.
#pragma once

#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "driver/checked_driver.hpp"
#include "driver/sim/machine.hpp"
#include "driver/sim/sim_driver.hpp"

namespace gapless::contract {

using driver::Address;
using driver::Event;
using driver::Handle;
using driver::Result;
using driver::Stream;

inline constexpr std::size_t kGranule = 2u << 20;

struct World {
  explicit World(const driver::sim::Config& config, bool use_checked = false)
      : machine(mutated(config)),
        device(driver::sim::make_sim_driver(machine)),
        checked(*device, kGranule, config.devices, without()),
        driver(use_checked ? static_cast<driver::DriverOps&>(checked) : *device) {}

  std::set<std::string> rules_of_device() {
    std::set<std::string> rules;
    for (const auto& violation : machine.violations()) rules.insert(violation.rule);
    return rules;
  }
  std::set<std::string> rules_of_checked() const {
    std::set<std::string> rules;
    for (const auto& report : checked.reports()) rules.insert(report.rule);
    return rules;
  }

  Address reserve(std::size_t granules) {
    Address base = 0;
    (void)driver.address_reserve(granules * kGranule, 0, base);
    return base;
  }
  Handle create(std::size_t granules = 1) {
    Handle handle = 0;
    (void)driver.create(0, granules * kGranule, {}, handle);
    return handle;
  }
  void map(Address base, Handle handle, std::size_t granules = 1) {
    (void)driver.map(base, granules * kGranule, handle);
    const int zero = 0;
    (void)driver.set_access(base, granules * kGranule, {&zero, 1});
  }
  // A reservation of one granule, mapped and accessible.
  Address mapped() {
    const Address base = reserve(1);
    map(base, create());
    return base;
  }
  Stream stream(bool non_blocking = true, int on_device = 0) {
    Stream out = nullptr;
    driver::sim::StreamFlags flags;
    flags.non_blocking = non_blocking;
    (void)machine.stream_create(on_device, flags, out);
    return out;
  }
  Event event(int on_device = 0) {
    Event out = nullptr;
    (void)driver.event_create(on_device, out);
    return out;
  }
  void use(Stream stream, Address base, bool write, const char* name, std::size_t bytes = kGranule) {
    const driver::sim::Access access{base, bytes, write, -1};
    driver::sim::Operation operation;
    operation.name = name;
    operation.accesses = {&access, 1};
    (void)machine.submit(0, stream, operation);
  }
  void write(Stream stream, Address base, const char* name = "writer") { use(stream, base, true, name); }
  void read(Stream stream, Address base, const char* name = "reader") { use(stream, base, false, name); }
  // Everything in `later` after everything in `earlier` so far.
  void order(Stream earlier, Stream later) {
    const Event event = this->event();
    (void)driver.event_record(0, event, earlier);
    (void)driver.stream_wait_event(0, later, event);
    (void)driver.event_destroy(0, event);
  }

  // The mutation check (check_mutations.py) runs these tests against a referee that lacks one rule.
  static const char* without() {
    const char* rule = std::getenv("GAPLESS_CONTRACT_WITHOUT");
    return rule == nullptr ? "" : rule;
  }
  static driver::sim::Config mutated(driver::sim::Config config) {
    config.without = without();
    return config;
  }

  driver::sim::Machine machine;
  std::unique_ptr<driver::DriverOps> device;
  driver::CheckedDriver checked;
  driver::DriverOps& driver;
};

// A rule, a program that breaks it and nothing else, and the correct twin. A rule that is enforced in several places
// has a case for each, told apart by `way`.
struct Case {
  const char* rule;
  void (*breaks)(World&);
  void (*keeps)(World&);
  void (*configure)(driver::sim::Config&) = nullptr;
  const char* way = "";
};

// Without it GoogleTest prints the addresses of the functions, which differ from run to run.
inline void PrintTo(const Case& rule, std::ostream* out) {
  *out << rule.rule;
}

std::vector<Case> memory_rules();
std::vector<Case> sharing_rules();
std::vector<Case> stream_rules();
std::vector<Case> capture_rules();
std::vector<Case> use_rules();

}  // namespace gapless::contract

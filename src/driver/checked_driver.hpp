// SPDX-License-Identifier: Apache-2.0
// A driver that refuses what docs/driver_contract.md forbids, before the driver below sees it: over a real device,
// whose answer to a wrong call may be silence, it is the only referee. Knows the calls, not the work: what an operation
// of a stream touches is known to a device only (the simulated one enforces those rules).
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "driver/forwarding_driver.hpp"

namespace gapless::driver {

class CheckedDriver final : public ForwardingDriver {
 public:
  struct Report {
    const char* rule = "";
    std::string text;
  };
  struct Live {
    std::size_t reservations = 0, handles = 0, mappings = 0, events = 0;

    friend bool operator==(const Live&, const Live&) = default;
  };

  // `granularity`: DeviceInfo's; the smallest one where devices differ. `without`: a rule, or lines of this file, that
  // is not reported: for the mutation check of tests/contract only (left_out.hpp).
  CheckedDriver(DriverOps& next, std::size_t granularity, int devices, std::string without = {});

  std::vector<Report> reports() const;
  std::uint64_t report_count() const;
  Live live() const;  // what was not given back: leaks, at the end of a test

  Result address_reserve(std::size_t bytes, std::size_t alignment, Address& out) override;
  Result address_free(Address base, std::size_t bytes) override;
  Result create(int device, std::size_t bytes, const HandleProperties& properties, Handle& out) override;
  Result release(Handle handle) override;
  Result map(Address base, std::size_t bytes, Handle handle) override;
  Result unmap(Address base, std::size_t bytes) override;
  Result set_access(Address base, std::size_t bytes, std::span<const int> devices) override;
  Result export_posix_fd(Handle handle, int& out) override;
  Result import_posix_fd(int fd, Handle& out) override;
  Result memory_info(int device, MemoryInfo& out) override;
  Result event_create(int device, Event& out) override;
  Result event_destroy(int device, Event event) override;
  Result event_record(int device, Event event, Stream stream) override;
  Result event_query(int device, Event event) override;
  Result event_synchronize(int device, Event event) override;
  Result stream_wait_event(int device, Stream stream, Event event) override;

 private:
  struct HandleState {
    std::size_t bytes = 0;
    unsigned held = 0;
    bool exportable = false;
  };
  struct Mapping {
    std::size_t bytes = 0;
    bool leaving = false;  // an unmap is under way
  };

  Result broken(const char* rule, std::string text, Result result = Result::invalid_value,
                const char* file = __builtin_FILE(), int line = __builtin_LINE());
  Result check_device(int device);
  Result check_event(int device, Event event, const char* call);
  bool whole_mappings(Address base, std::size_t bytes) const;
  bool aligned(std::uint64_t n) const { return n % granularity_ == 0; }

  const std::size_t granularity_;
  const int devices_;
  const std::string without_;
  mutable std::mutex mutex_;  // never held across a call of the driver below
  std::map<Address, std::size_t> reservations_;
  std::map<Handle, HandleState> handles_;
  std::map<Address, Mapping> mappings_;
  std::map<Event, int> events_;  // looked up by handle only: their order decides nothing
  std::vector<Report> reports_;
  std::uint64_t report_count_ = 0;
};

}  // namespace gapless::driver

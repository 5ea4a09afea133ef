// SPDX-License-Identifier: Apache-2.0
#include "support/device_work.hpp"

#include <span>
#include <stdexcept>
#include <string>

namespace gapless::testing {
namespace {

constexpr int kDevice = 0;

void require(driver::Result result, const char* what) {
  if (result != driver::Result::ok) {
    throw std::runtime_error(std::string(what) +
                             " failed on the simulated device: " + std::to_string(static_cast<int>(result)));
  }
}

}  // namespace

DeviceWork::DeviceWork(driver::sim::Machine& machine, std::uint32_t streams) : machine_(machine), streams_(streams) {
  for (std::size_t i = 1; i < streams_.size(); ++i) {
    require(machine_.stream_create(kDevice, {.non_blocking = true}, streams_[i]), "stream_create");
  }
  require(machine_.event_create(kDevice, event_), "event_create");
}

DeviceWork::~DeviceWork() {
  machine_.device_synchronize(kDevice);
  machine_.event_destroy(event_);
  for (std::size_t i = 1; i < streams_.size(); ++i) machine_.stream_destroy(kDevice, streams_[i]);
}

void DeviceWork::submit(std::int32_t stream, const char* name, std::uint64_t address, std::uint64_t bytes, bool write) {
  const driver::sim::Access access{.base = address, .bytes = bytes, .write = write};
  driver::sim::Operation operation;
  operation.name = name;
  if (bytes > 0) operation.accesses = std::span(&access, 1);
  // A wrong access is a violation that the session reports, with both operations named; its result says less.
  (void)machine_.submit(kDevice, this->stream(stream), operation);
}

void DeviceWork::write(std::int32_t stream, std::uint64_t address, std::uint64_t bytes) {
  submit(stream, "write", address, bytes, true);
}

void DeviceWork::read_from(std::int32_t stream, std::int32_t owner, std::uint64_t address, std::uint64_t bytes) {
  if (stream != owner) {
    require(machine_.event_record(kDevice, event_, this->stream(owner)), "event_record");
    require(machine_.stream_wait_event(kDevice, this->stream(stream), event_), "stream_wait_event");
  }
  submit(stream, "read", address, bytes, false);
}

void DeviceWork::unrelated(std::int32_t stream, std::uint32_t operations) {
  for (std::uint32_t i = 0; i < operations; ++i) submit(stream, "unrelated", 0, 0, false);
}

void DeviceWork::synchronize(std::int32_t stream) {
  if (stream < 0) {
    require(machine_.device_synchronize(kDevice), "device_synchronize");
  } else {
    require(machine_.stream_synchronize(kDevice, this->stream(stream)), "stream_synchronize");
  }
}

void DeviceWork::replace(std::int32_t stream) {
  driver::Stream& place = streams_[static_cast<std::size_t>(stream)];
  const driver::Stream gone = place;
  require(machine_.stream_create(kDevice, {.non_blocking = true}, place), "stream_create");
  require(machine_.event_record(kDevice, event_, gone), "event_record");
  require(machine_.stream_wait_event(kDevice, place, event_), "stream_wait_event");
  require(machine_.stream_destroy(kDevice, gone), "stream_destroy");
}

}  // namespace gapless::testing

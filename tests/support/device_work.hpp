// SPDX-License-Identifier: Apache-2.0
// What a program does with its blocks, on the simulated device: streams, kernels that touch blocks, and the ordering
// that a correct program makes between its own streams. Everything else is the allocator's duty.
#pragma once

#include <cstdint>
#include <vector>

#include "driver/sim/machine.hpp"

namespace gapless::testing {

class DeviceWork {
 public:
  DeviceWork(driver::sim::Machine& machine, std::uint32_t streams);
  ~DeviceWork();
  DeviceWork(const DeviceWork&) = delete;
  DeviceWork& operator=(const DeviceWork&) = delete;

  // Index 0 is the legacy default stream, the others do not synchronise with it.
  driver::Stream stream(std::int32_t index) const { return streams_[static_cast<std::size_t>(index)]; }

  void write(std::int32_t stream, std::uint64_t address, std::uint64_t bytes);
  // Work on `stream` that reads what `owner` wrote, ordered after it.
  void read_from(std::int32_t stream, std::int32_t owner, std::uint64_t address, std::uint64_t bytes);
  void unrelated(std::int32_t stream, std::uint32_t operations);
  void synchronize(std::int32_t stream);  // -1: the device
  // The stream is destroyed, not waited for; another takes its place, whose work comes after.
  void replace(std::int32_t stream);

 private:
  void submit(std::int32_t stream, const char* name, std::uint64_t address, std::uint64_t bytes, bool write);

  driver::sim::Machine& machine_;
  std::vector<driver::Stream> streams_;
  driver::Event event_ = nullptr;
};

}  // namespace gapless::testing

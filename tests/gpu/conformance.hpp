// SPDX-License-Identifier: Apache-2.0
// The conformance program: calls whose result codes and effects docs/driver_contract.md promises, made alike on the
// simulated device and on a real one. Every line of its output is one call and what it gave; the two outputs are
// compared line by line, and a difference is a bug of the simulation.
//
// What may differ between two correct runs stays out of the output: addresses, times, sizes of the device, and whether
// work that nobody waited for has completed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gpu/driver_api.hpp"

namespace gapless::gpu {

// One process's view of device 0, and where scenarios write what they see.
class Run {
 public:
  Run(const Cuda& functions, const char* scenario) : cuda(functions), scenario_(scenario) {}

  // Writes one line, "scenario<tab>call<tab>result", and gives the result back.
  CUresult operator()(const char* call, CUresult result);
  void saw(const char* what, std::uint64_t value);
  void saw(const char* what, const std::string& value);
  static void line(const std::string& scenario, const std::string& what, const std::string& value);

  // Helpers whose results are not part of the scenario; a failure ends the process with a text, since nothing that
  // follows would mean anything.
  CUdeviceptr reserve(std::size_t granules);
  CUmemGenericAllocationHandle create(std::size_t granules = 1, bool exportable = false);
  void map(CUdeviceptr base, CUmemGenericAllocationHandle handle, std::size_t granules = 1);
  CUdeviceptr mapped(std::size_t granules = 1);  // reserved, backed and accessible
  CUresult access(CUdeviceptr base, std::size_t bytes, int device = 0, std::size_t count = 1) const;
  CUstream stream(unsigned flags = CU_STREAM_NON_BLOCKING);
  CUevent event();
  std::size_t free_bytes();
  std::uint8_t byte_at(CUdeviceptr address);  // by a synchronous copy
  void must(CUresult result, const char* what) const;

  const Cuda& cuda;
  std::size_t granule = 2u << 20;

 private:
  const char* scenario_;
};

struct Scenario {
  const char* name;  // starts with the rule that it is about, where it is about one
  void (*run)(Run&);
  // It may leave the context or the process unusable: nothing else runs in its process.
  bool alone = false;
};

std::vector<Scenario> memory_scenarios();
std::vector<Scenario> mapping_scenarios();
std::vector<Scenario> stream_scenarios();
std::vector<Scenario> capture_scenarios();
std::vector<Scenario> fault_scenarios();
std::vector<Scenario> sharing_scenarios();

CUmemAllocationProp device_memory(bool exportable = false);

}  // namespace gapless::gpu

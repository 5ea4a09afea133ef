// SPDX-License-Identifier: Apache-2.0
// What a probe found: names and values, written as JSON lines as they are found, so that a probe which is stopped has
// still said what it knew.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "gpu/driver_api.hpp"

namespace gapless::gpu {

void fact(const std::string& name, double value, const char* unit);
void fact(const std::string& name, const std::string& text);
// min, median, 99th percentile and maximum; nothing where there is no value.
void facts_of(const std::string& name, std::vector<double> values, const char* unit);

class Stopwatch {
 public:
  double microseconds() const {
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// One device, its context current, and how much a probe may do: `quick` is for the simulated device and for tests.
struct Probe {
  Cuda cuda;
  bool quick = false;
  std::size_t granule = 2u << 20;

  // False, with the reason on stderr, where there is no device.
  bool open(bool simulate_quickly);
  std::size_t many(std::size_t on_hardware, std::size_t on_simulation) const {
    return quick ? on_simulation : on_hardware;
  }
  // Ends the process, saying what failed: a probe whose set-up fails has nothing to say.
  void must(CUresult result, const char* what) const;

  CUmemGenericAllocationHandle create(std::size_t bytes) const;
  CUdeviceptr reserve(std::size_t bytes) const;
  void map(CUdeviceptr base, std::size_t bytes, CUmemGenericAllocationHandle handle) const;
  CUresult access(CUdeviceptr base, std::size_t bytes) const;
  void unmap(CUdeviceptr base, std::size_t bytes) const { must(cuda.cuMemUnmap(base, bytes), "cuMemUnmap"); }
  CUstream stream() const;
  CUevent event(bool timed = false) const;
  std::size_t free_bytes() const;
  void synchronize() const { must(cuda.cuCtxSynchronize(), "cuCtxSynchronize"); }
};

void probe_costs(Probe& probe);
void probe_delays(Probe& probe);
void probe_aliases(Probe& probe);
void probe_unmap(Probe& probe);
void probe_pending_unmap(Probe& probe);
void probe_ceilings(Probe& probe);
void probe_bandwidth(Probe& probe);
void probe_accounting(Probe& probe);

}  // namespace gapless::gpu

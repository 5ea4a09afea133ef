// SPDX-License-Identifier: Apache-2.0
// The simulated CUDA device in this process: its libraries are loaded so that everything that asks for libcuda.so.1 or
// libcudart.so.13 afterwards gets them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>

#include "simcuda/gapless_sim.h"
#include "tools/replay/options.hpp"
#include "tools/replay/shared_library.hpp"

namespace gapless::tools {

class SimDevice {
 public:
  // Once in a process. Throws SetupError when the libraries are not there or the device refuses an option.
  SimDevice(const Options& options, std::uint64_t size);

  std::uint64_t physical_bytes() const { return physical_bytes_(0); }
  std::uint64_t physical_bytes_peak() const { return physical_bytes_peak_(0); }
  std::uint64_t violations() const { return violations_(); }
  // Calls so far by function, driver and runtime functions only.
  std::map<std::string, std::uint64_t> calls() const;

  void observe(gapless_sim_observer observer, void* user) { set_observer_(observer, user); }

  // What the traced program did, as opposed to its allocator. Streams are the trace's numbers; each is created,
  // non-blocking, when first named; 0 is the legacy default stream.
  void* stream(std::int32_t number);
  void destroy_stream(std::int32_t number);
  void synchronize(std::int32_t number);  // kEveryStream: the device
  void issue(std::uint64_t operations);
  // One operation on a block, by the stream it belongs to.
  void access(std::int32_t stream, void* pointer, std::uint64_t bytes, bool write);
  // Work on `waiter` after this comes after the work now on `source`.
  void order(std::int32_t waiter, std::int32_t source);

 private:
  void check(int result, const char* what) const;

  SharedLibrary driver_;
  SharedLibrary runtime_;
  std::unordered_map<std::int32_t, void*> streams_;

  decltype(&gapless_sim_configure) configure_ = nullptr;
  decltype(&gapless_sim_last_error) last_error_ = nullptr;
  decltype(&gapless_sim_physical_bytes) physical_bytes_ = nullptr;
  decltype(&gapless_sim_physical_bytes_peak) physical_bytes_peak_ = nullptr;
  decltype(&gapless_sim_violations) violations_ = nullptr;
  decltype(&gapless_sim_visit_calls) visit_calls_ = nullptr;
  decltype(&gapless_sim_set_observer) set_observer_ = nullptr;
  decltype(&gapless_sim_advance) advance_ = nullptr;
  decltype(&gapless_sim_access) access_ = nullptr;
  // CUDA's driver API, written out so that this builds without its headers: CUresult and CUdevice are int, streams,
  // events and contexts pointers.
  int (*init_)(unsigned) = nullptr;
  int (*retain_context_)(void**, int) = nullptr;
  int (*set_context_)(void*) = nullptr;
  int (*synchronize_context_)() = nullptr;
  int (*create_stream_)(void**, unsigned) = nullptr;
  int (*destroy_stream_)(void*) = nullptr;
  int (*synchronize_stream_)(void*) = nullptr;
  int (*wait_event_)(void*, void*, unsigned) = nullptr;
  int (*create_event_)(void**, unsigned) = nullptr;
  int (*record_event_)(void*, void*) = nullptr;
  int (*destroy_event_)(void*) = nullptr;
};

}  // namespace gapless::tools

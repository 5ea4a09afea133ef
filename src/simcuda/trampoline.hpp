// SPDX-License-Identifier: Apache-2.0
// What the functions that generate.py writes are made of.
//
// A trampoline has no idea of its parameters: it must not touch them. It is counted by name, so that the statistics say
// what a program needed and the simulation lacks.
#pragma once

#include "simcuda/counters.hpp"
#include "simcuda/gapless_sim.h"
#include "simcuda/per_thread.hpp"

using gapless::simcuda::PerThreadDefault;

// CUDA_ERROR_NOT_SUPPORTED, which is also cudaErrorNotSupported.
#define GAPLESS_SIM_TRAMPOLINE_DRIVER(name)                                \
  static gapless::simcuda::CallCounter counter{name, GAPLESS_SIM_MISSING}; \
  counter.hit();                                                           \
  return 801

#define GAPLESS_SIM_TRAMPOLINE_RUNTIME(name)                               \
  static gapless::simcuda::CallCounter counter{name, GAPLESS_SIM_MISSING}; \
  counter.hit();                                                           \
  return gapless_sim_runtime_missing()

// Every status type of the maths libraries says success with 0.
#define GAPLESS_SIM_TRAMPOLINE_MATHS(name)                               \
  static gapless::simcuda::CallCounter counter{name, GAPLESS_SIM_MATHS}; \
  counter.hit();                                                         \
  return 0

// A routine that takes the library's handle first and computes: its place in the stream's order is kept.
#define GAPLESS_SIM_TRAMPOLINE_ROUTINE(name, handle)                     \
  static gapless::simcuda::CallCounter counter{name, GAPLESS_SIM_MATHS}; \
  counter.hit();                                                         \
  return gapless_sim_routine(name, handle)

extern "C" int gapless_sim_routine(const char* name, void* handle);  // of each maths library: enqueues; its status code
extern "C" int gapless_sim_runtime_missing();  // sets the thread's last error; returns cudaErrorNotSupported

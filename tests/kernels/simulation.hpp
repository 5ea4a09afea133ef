// SPDX-License-Identifier: Apache-2.0
// The libraries of a program with kernels, opened by simulation_main.cpp: the simulated device keeps bytes and is
// strict.
#pragma once

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include "gapless_kernels.h"
#include "simcuda/gapless_sim.h"

namespace gapless::kernels {

extern void* driver;   // libcuda.so.1
extern void* runtime;  // libcudart.so
extern void* library;  // libgapless_kernels.so

template <typename Function>
Function* find(void* from, const char* name) {
  return reinterpret_cast<Function*>(dlsym(from, name));
}

}  // namespace gapless::kernels

#define RUNTIME(function) gapless::kernels::find<decltype(function)>(gapless::kernels::runtime, #function)
#define KERNELS(function) gapless::kernels::find<decltype(function)>(gapless::kernels::library, #function)

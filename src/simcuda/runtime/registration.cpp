// SPDX-License-Identifier: Apache-2.0
// What nvcc's generated code calls before main: kernels and device variables by the address of their host stand-ins.
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "simcuda/runtime/api.hpp"

using namespace gapless::simcuda;

namespace {

struct Registered {
  std::shared_mutex mutex;
  std::unordered_map<const void*, CUfunction> functions;  // also by handle: a cudaKernel_t is accepted as a symbol
  std::unordered_map<const void*, std::size_t> variables;
};

Registered& registered() {
  static Registered* all = new Registered;
  return *all;
}

}  // namespace

cudaError_t gapless::simcuda::variable_address(const void* symbol, CUdeviceptr& address, std::size_t& bytes) {
  {
    std::shared_lock lock(registered().mutex);
    const auto found = registered().variables.find(symbol);
    if (found == registered().variables.end()) return cudaErrorInvalidSymbol;
    bytes = found->second;
  }
  return static_cast<cudaError_t>(gapless_sim_variable(symbol, bytes, &address));
}

cudaError_t gapless::simcuda::function_of(const void* symbol, CUfunction& function) {
  std::shared_lock lock(registered().mutex);
  const auto found = registered().functions.find(symbol);
  if (found == registered().functions.end()) return cudaErrorInvalidDeviceFunction;
  function = found->second;
  return cudaSuccess;
}

extern "C" {

// A fat binary's handle only has to be an address of its own.
GAPLESS_SIM_EXPORT void** __cudaRegisterFatBinary(void* image) {
  return new void*(image);
}

GAPLESS_SIM_EXPORT void __cudaRegisterFatBinaryEnd(void**) {}

GAPLESS_SIM_EXPORT void __cudaUnregisterFatBinary(void** handle) {
  delete handle;
}

GAPLESS_SIM_EXPORT char __cudaInitModule(void**) {
  return 0;
}

GAPLESS_SIM_EXPORT void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, uint3*, uint3*,
                                               dim3*, dim3*, int*) {
  const CUfunction function = gapless_sim_function(name);
  std::unique_lock lock(registered().mutex);
  registered().functions[host] = function;
  registered().functions[function] = function;
}

GAPLESS_SIM_EXPORT void __cudaRegisterVar(void**, char* host, char*, const char*, int, std::size_t bytes, int, int) {
  std::unique_lock lock(registered().mutex);
  registered().variables[host] = bytes;
}

GAPLESS_SIM_EXPORT cudaError_t __cudaGetKernel(cudaKernel_t* out, const void* symbol) {
  CUfunction function = nullptr;
  const cudaError_t error = out != nullptr ? function_of(symbol, function) : cudaErrorInvalidValue;
  if (error == cudaSuccess) *out = reinterpret_cast<cudaKernel_t>(function);
  return finish(error);
}
}

GAPLESS_SIM_RUNTIME_API cudaGetSymbolAddress(void** out, const void* symbol) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGetSymbolAddress");
  if (out == nullptr) return finish(cudaErrorInvalidValue);
  CUdeviceptr address = 0;
  std::size_t bytes = 0;
  const cudaError_t error = variable_address(symbol, address, bytes);
  if (error == cudaSuccess) *out = reinterpret_cast<void*>(address);
  return finish(error);
}

GAPLESS_SIM_RUNTIME_API cudaGetSymbolSize(size_t* out, const void* symbol) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaGetSymbolSize");
  if (out == nullptr) return finish(cudaErrorInvalidValue);
  CUdeviceptr address = 0;
  return finish(variable_address(symbol, address, *out));
}

GAPLESS_SIM_RUNTIME_API cudaGetFuncBySymbol(cudaFunction_t* out, const void* symbol) {
  GAPLESS_SIM_RUNTIME_CALL("cudaGetFuncBySymbol");
  CUfunction function = nullptr;
  const cudaError_t error = out != nullptr ? function_of(symbol, function) : cudaErrorInvalidValue;
  if (error == cudaSuccess) *out = function;
  return finish(error);
}

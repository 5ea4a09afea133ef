// SPDX-License-Identifier: Apache-2.0
#include "simcuda/driver/api.hpp"
#include "simcuda/error_text.hpp"

using namespace gapless::simcuda;

namespace {

const ErrorName kNames[] = {
#include "driver_errors.inc"
};

}  // namespace

GAPLESS_SIM_API cuGetErrorName(CUresult error, const char** out) {
  GAPLESS_SIM_COUNT("cuGetErrorName");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  *out = error_name(kNames, error);
  return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

GAPLESS_SIM_API cuGetErrorString(CUresult error, const char** out) {
  GAPLESS_SIM_COUNT("cuGetErrorString");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  *out = error_text(error);
  if (*out == nullptr) *out = error_name(kNames, error);
  return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

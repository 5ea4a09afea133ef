// SPDX-License-Identifier: Apache-2.0
#include "driver/result_name.hpp"

namespace gapless::driver {

const char* result_name(Result result) {
  switch (static_cast<int>(result)) {
    case 0:
      return "CUDA_SUCCESS";
    case 1:
      return "CUDA_ERROR_INVALID_VALUE";
    case 2:
      return "CUDA_ERROR_OUT_OF_MEMORY";
    case 3:
      return "CUDA_ERROR_NOT_INITIALIZED";
    case 4:
      return "CUDA_ERROR_DEINITIALIZED";
    case 100:
      return "CUDA_ERROR_NO_DEVICE";
    case 101:
      return "CUDA_ERROR_INVALID_DEVICE";
    case 201:
      return "CUDA_ERROR_INVALID_CONTEXT";
    case 400:
      return "CUDA_ERROR_INVALID_HANDLE";
    case 500:
      return "CUDA_ERROR_NOT_FOUND";
    case 600:
      return "CUDA_ERROR_NOT_READY";
    case 700:
      return "CUDA_ERROR_ILLEGAL_ADDRESS";
    case 719:
      return "CUDA_ERROR_LAUNCH_FAILED";
    case 800:
      return "CUDA_ERROR_NOT_PERMITTED";
    case 801:
      return "CUDA_ERROR_NOT_SUPPORTED";
    case 900:
      return "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED";
    case 901:
      return "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED";
    case 902:
      return "CUDA_ERROR_STREAM_CAPTURE_MERGE";
    case 903:
      return "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED";
    case 904:
      return "CUDA_ERROR_STREAM_CAPTURE_UNJOINED";
    case 905:
      return "CUDA_ERROR_STREAM_CAPTURE_ISOLATION";
    case 906:
      return "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT";
    case 907:
      return "CUDA_ERROR_CAPTURED_EVENT";
    case 908:
      return "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD";
    default:
      return "CUDA_ERROR_UNKNOWN";
  }
}

}  // namespace gapless::driver

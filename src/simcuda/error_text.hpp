// SPDX-License-Identifier: Apache-2.0
// Error codes as text. The driver's and the runtime's codes are the same numbers; their names differ.
#pragma once

#include <algorithm>
#include <iterator>

namespace gapless::simcuda {

struct ErrorName {
  int code;
  const char* name;
};

// `table` ascends by code. Null for an unknown code.
template <std::size_t N>
const char* error_name(const ErrorName (&table)[N], int code) {
  const auto* found = std::lower_bound(std::begin(table), std::end(table), code,
                                       [](const ErrorName& each, int wanted) { return each.code < wanted; });
  return found != std::end(table) && found->code == code ? found->name : nullptr;
}

// What programs print of the errors that the simulation returns; null for any other code.
inline const char* error_text(int code) {
  switch (code) {
    case 0:
      return "no error";
    case 1:
      return "invalid argument";
    case 2:
      return "out of memory";
    case 3:
      return "initialization error";
    case 9:
      return "invalid configuration argument";
    case 98:
      return "invalid device function";
    case 100:
      return "no CUDA-capable device is detected";
    case 101:
      return "invalid device ordinal";
    case 201:
      return "invalid device context";
    case 304:
      return "OS call failed or operation not supported on this OS";
    case 400:
      return "invalid resource handle";
    case 401:
      return "the operation cannot be performed in the present state";
    case 500:
      return "named symbol not found";
    case 600:
      return "device not ready";
    case 700:
      return "an illegal memory access was encountered";
    case 800:
      return "operation not permitted";
    case 801:
      return "operation not supported";
    case 900:
      return "operation not permitted when stream is capturing";
    case 901:
      return "operation failed due to a previous error during capture";
    case 902:
      return "operation would result in a merge of separate capture sequences";
    case 903:
      return "capture was not ended in the same stream as it began";
    case 904:
      return "capturing stream has unjoined work";
    case 905:
      return "dependency created on uncaptured work in another stream";
    case 906:
      return "operation would make the legacy stream depend on a capturing blocking stream";
    case 907:
      return "operation not permitted on an event last recorded in a capturing stream";
    case 908:
      return "attempt to terminate a thread-local capture sequence from another thread";
    default:
      return nullptr;
  }
}

}  // namespace gapless::simcuda

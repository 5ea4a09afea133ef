// SPDX-License-Identifier: Apache-2.0
#include "base/status.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace gapless {

const char* status_name(Status status) {
  switch (status) {
    case Status::ok:
      return "ok";
    case Status::invalid_argument:
      return "invalid argument";
    case Status::unknown_pointer:
      return "unknown pointer";
    case Status::out_of_memory:
      return "out of memory";
    case Status::unsupported:
      return "unsupported";
    case Status::driver:
      return "driver error";
    case Status::in_capture:
      return "not possible during capture";
    case Status::busy:
      return "busy";
    case Status::not_found:
      return "not found";
    case Status::internal:
      return "internal error";
  }
  return "unknown status";
}

namespace base {
namespace {

// Trivially destructible: static destructors of the program run after the main thread's thread_local objects have been
// destroyed, and may still free memory and ask why that failed.
struct LastError {
  char text[512];
  int driver_code;
};
thread_local LastError last{};

}  // namespace

Status fail(Status status, const std::string& detail) {
  const std::size_t length = std::min(detail.size(), sizeof last.text - 1);
  std::memcpy(last.text, detail.data(), length);
  last.text[length] = '\0';
  last.driver_code = 0;
  return status;
}

Status fail_driver(const char* call, int code, const char* code_name) {
  std::snprintf(last.text, sizeof last.text, "%s: %s (%d)", call, code_name, code);
  last.driver_code = code;
  return Status::driver;
}

const char* last_error() {
  return last.text;
}
int last_driver_error() {
  return last.driver_code;
}

}  // namespace base
}  // namespace gapless

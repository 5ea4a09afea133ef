// SPDX-License-Identifier: Apache-2.0
#include "base/status.hpp"

#include <utility>

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

struct LastError {
  std::string text;
  int driver_code = 0;
};
thread_local LastError last;

}  // namespace

Status fail(Status status, std::string detail) {
  last.text = std::move(detail);
  last.driver_code = 0;
  return status;
}

Status fail_driver(const char* call, int code, const char* code_name) {
  last.text = std::string(call) + ": " + code_name + " (" + std::to_string(code) + ")";
  last.driver_code = code;
  return Status::driver;
}

const std::string& last_error() {
  return last.text;
}
int last_driver_error() {
  return last.driver_code;
}

}  // namespace base
}  // namespace gapless

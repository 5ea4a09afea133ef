// SPDX-License-Identifier: Apache-2.0
// How functions of gapless fail: a Status, and the detail of the thread's last failure as text.
#pragma once

#include <string>

namespace gapless {

// The values of gapless_status (the C ABI checks that they agree).
enum class [[nodiscard]] Status : int{
    ok = 0,   invalid_argument = 1, unknown_pointer = 2, out_of_memory = 3, unsupported = 4, driver = 5, in_capture = 6,
    busy = 7, not_found = 8,        internal = 9,
};

const char* status_name(Status status);

namespace base {

// The detail of the calling thread's last failure. Set where a failure is first known; success does not clear it.
// At most 511 bytes of it are kept.
Status fail(Status status, const std::string& detail);
// The same for a failed driver call: `code` is its CUresult. Returns Status::driver.
Status fail_driver(const char* call, int code, const char* code_name);

const char* last_error();
int last_driver_error();

}  // namespace base
}  // namespace gapless

// SPDX-License-Identifier: Apache-2.0
#include "capi/fence.hpp"

namespace gapless::capi {

// Where not even the text finds memory the status must do.
static gapless_status out_of_host_memory() noexcept {
  try {
    return to_c(base::fail(Status::out_of_memory, "the host is out of memory"));
  } catch (const std::bad_alloc&) {
    return GAPLESS_ERROR_OUT_OF_MEMORY;
  }
}

gapless_status status_of_exception() noexcept {
  try {
    throw;
  } catch (const base::BrokenInvariant& broken) {
    return to_c(base::fail(Status::internal, broken.what()));
  } catch (const std::bad_alloc&) {
    return out_of_host_memory();
  } catch (const std::exception& other) {
    return to_c(base::fail(Status::internal, other.what()));
  } catch (...) {
    return to_c(base::fail(Status::internal, "an unknown exception"));
  }
}

}  // namespace gapless::capi

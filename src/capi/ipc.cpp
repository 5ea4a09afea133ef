// SPDX-License-Identifier: Apache-2.0
// Memory between processes.
#include "capi/fence.hpp"

using gapless::Status;
using gapless::base::fail;
using gapless::capi::fenced;

namespace {
Status not_yet() {
  return fail(Status::unsupported, "this version of gapless does not share memory between processes");
}
}  // namespace

extern "C" {

gapless_status gapless_ipc_export(gapless_allocator*, void*, void*, size_t, size_t*, size_t*) {
  return fenced([] { return not_yet(); });
}
gapless_status gapless_ipc_import(gapless_allocator*, int32_t, const void*, size_t, void**) {
  return fenced([] { return not_yet(); });
}
gapless_status gapless_ipc_close(gapless_allocator*, void*) {
  return fenced([] { return not_yet(); });
}

}  // extern "C"

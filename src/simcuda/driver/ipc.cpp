// SPDX-License-Identifier: Apache-2.0
// Memory and events of other processes: the handles of 64 bytes.
#include <unistd.h>

#include <cstring>

#include "simcuda/driver/api.hpp"
#include "simcuda/driver/observer.hpp"

using namespace gapless::simcuda;

namespace {

static_assert(sizeof(sim::SharedMemory) <= sizeof(CUipcMemHandle));

constexpr std::uint64_t kEventMagic = 0x6761707376656e31;

struct SharedEvent {
  std::uint64_t magic = kEventMagic;
  std::int64_t process = ::getpid();
  std::uint64_t id = 0;  // so that handles of different events differ
};
static_assert(sizeof(SharedEvent) <= sizeof(CUipcEventHandle));

}  // namespace

GAPLESS_SIM_API cuIpcGetMemHandle(CUipcMemHandle* out, CUdeviceptr inside) {
  GAPLESS_SIM_CALL("cuIpcGetMemHandle");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  sim::SharedMemory memory;
  const Result result = m->ipc_share(inside, memory);
  if (result != Result::ok) return to_cuda(result);
  std::memset(out, 0, sizeof *out);
  std::memcpy(out, &memory, sizeof memory);
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuIpcOpenMemHandle(CUdeviceptr* out, CUipcMemHandle handle, unsigned flags) {
  GAPLESS_SIM_CONTEXT_CALL("cuIpcOpenMemHandle");
  GAPLESS_SIM_REQUIRE(out != nullptr && (flags & ~static_cast<unsigned>(CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS)) == 0);
  sim::SharedMemory memory;
  std::memcpy(static_cast<void*>(&memory), &handle, sizeof memory);
  gapless::driver::Address address = 0;
  const Result result = m->ipc_open(memory, address);
  if (result == Result::ok) *out = address;
  // "Automatically enable peer access between remote devices as needed."
  if (result == Result::ok && flags != 0 && memory.device != device)
    static_cast<void>(m->enable_peer_access(device, memory.device));
  return observed("cuIpcOpenMemHandle", result, {.device = device, .address = address, .bytes = memory.bytes});
}

GAPLESS_SIM_API cuIpcCloseMemHandle(CUdeviceptr base) {
  GAPLESS_SIM_CONTEXT_CALL("cuIpcCloseMemHandle");
  return observed("cuIpcCloseMemHandle", m->ipc_close(base), {.device = device, .address = base});
}

GAPLESS_SIM_API cuIpcGetEventHandle(CUipcEventHandle* out, CUevent event) {
  GAPLESS_SIM_CALL("cuIpcGetEventHandle");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  SharedEvent shared;
  const Result result = m->event_share(event, shared.id);
  if (result != Result::ok) return to_cuda(result);
  std::memset(out, 0, sizeof *out);
  std::memcpy(out, &shared, sizeof shared);
  return CUDA_SUCCESS;
}

// An event that is shared is complete whenever another process can ask, whoever of them recorded it:
// Machine::event_create. So the opener's is an event of its own.
GAPLESS_SIM_API cuIpcOpenEventHandle(CUevent* out, CUipcEventHandle handle) {
  GAPLESS_SIM_CONTEXT_CALL("cuIpcOpenEventHandle");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  SharedEvent shared;
  std::memcpy(static_cast<void*>(&shared), &handle, sizeof shared);
  GAPLESS_SIM_REQUIRE(shared.magic == kEventMagic);
  if (shared.process == ::getpid()) {
    m->violate("IPC-2", "cuIpcOpenEventHandle in the process that made the handle");
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  gapless::driver::Event event = nullptr;
  const Result result = m->event_create(device, event, false, true);
  if (result == Result::ok) *out = static_cast<CUevent>(event);
  return to_cuda(result);
}

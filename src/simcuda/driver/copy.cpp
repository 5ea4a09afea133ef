// SPDX-License-Identifier: Apache-2.0
// Copies and fills. Which side is the device's is told by the address, as with unified addressing.
#include "simcuda/driver/api.hpp"

using namespace gapless::simcuda;

namespace {

void* host(CUdeviceptr address) {
  return reinterpret_cast<void*>(address);
}

CUresult copy(Machine* m, int device, const char* name, void* to, const void* from, std::size_t bytes, CUstream stream,
              bool synchronous) {
  if (bytes == 0) return CUDA_SUCCESS;
  return to_cuda(m->copy(device, resolve_stream(stream),
                         {.to = to, .from = from, .bytes = bytes, .synchronous = synchronous, .name = name}));
}

CUresult fill(Machine* m, int device, const char* name, CUdeviceptr to, std::uint32_t value, std::size_t width,
              std::size_t elements, CUstream stream, bool synchronous) {
  if (elements == 0) return CUDA_SUCCESS;
  GAPLESS_SIM_REQUIRE(to % width == 0);
  return to_cuda(m->fill(
      device, resolve_stream(stream),
      {.to = to, .value = value, .width = width, .elements = elements, .synchronous = synchronous, .name = name}));
}

// The rows of a 2D copy; false for arrays, which are not simulated.
bool rows_of(const CUDA_MEMCPY2D* d, Machine::Copy& out) {
  const auto side = [](CUmemorytype type, const void* on_host, CUdeviceptr on_device, std::size_t x, std::size_t y,
                       std::size_t pitch, const char*& start) {
    if (type == CU_MEMORYTYPE_ARRAY) return false;
    start = type == CU_MEMORYTYPE_HOST ? static_cast<const char*>(on_host) : static_cast<const char*>(host(on_device));
    start += y * pitch + x;
    return true;
  };
  const char* from = nullptr;
  const char* to = nullptr;
  if (!side(d->srcMemoryType, d->srcHost, d->srcDevice, d->srcXInBytes, d->srcY, d->srcPitch, from)) return false;
  if (!side(d->dstMemoryType, d->dstHost, d->dstDevice, d->dstXInBytes, d->dstY, d->dstPitch, to)) return false;
  out.from = from;
  out.to = const_cast<char*>(to);
  out.bytes = d->WidthInBytes;
  out.rows = d->Height;
  out.from_pitch = d->srcPitch;
  out.to_pitch = d->dstPitch;
  return true;
}

CUresult copy_2d(Machine* m, int device, const char* name, const CUDA_MEMCPY2D* description, CUstream stream,
                 bool synchronous) {
  GAPLESS_SIM_REQUIRE(description != nullptr);
  Machine::Copy rows;
  if (!rows_of(description, rows)) return CUDA_ERROR_NOT_SUPPORTED;
  GAPLESS_SIM_REQUIRE(rows.rows <= 1 || (rows.from_pitch >= rows.bytes && rows.to_pitch >= rows.bytes));
  if (rows.bytes == 0 || rows.rows == 0) return CUDA_SUCCESS;
  rows.synchronous = synchronous;
  rows.name = name;
  return to_cuda(m->copy(device, resolve_stream(stream), rows));
}

CUresult fill_2d(Machine* m, int device, const char* name, CUdeviceptr to, std::size_t pitch, std::uint32_t value,
                 std::size_t width, std::size_t elements, std::size_t rows, CUstream stream, bool synchronous) {
  if (elements == 0 || rows == 0) return CUDA_SUCCESS;
  GAPLESS_SIM_REQUIRE(to % width == 0 && pitch % width == 0 && (rows == 1 || pitch >= elements * width));
  return to_cuda(m->fill(device, resolve_stream(stream),
                         {.to = to,
                          .value = value,
                          .width = width,
                          .elements = elements,
                          .rows = rows,
                          .pitch = pitch,
                          .synchronous = synchronous,
                          .name = name}));
}

}  // namespace

GAPLESS_SIM_API cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemcpy");
  return copy(m, device, "cuMemcpy", host(to), host(from), bytes, nullptr, true);
}

GAPLESS_SIM_API cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemcpyAsync");
  return copy(m, device, "cuMemcpyAsync", host(to), host(from), bytes, stream, false);
}

GAPLESS_SIM_API cuMemcpyHtoD(CUdeviceptr to, const void* from, size_t bytes) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemcpyHtoD");
  return copy(m, device, "cuMemcpyHtoD", host(to), from, bytes, nullptr, true);
}

GAPLESS_SIM_API cuMemcpyDtoH(void* to, CUdeviceptr from, size_t bytes) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemcpyDtoH");
  return copy(m, device, "cuMemcpyDtoH", to, host(from), bytes, nullptr, true);
}

GAPLESS_SIM_API cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemcpyDtoD");
  return copy(m, device, "cuMemcpyDtoD", host(to), host(from), bytes, nullptr, true);
}

GAPLESS_SIM_API cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemcpyHtoDAsync");
  return copy(m, device, "cuMemcpyHtoDAsync", host(to), from, bytes, stream, false);
}

GAPLESS_SIM_API cuMemcpyDtoHAsync(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemcpyDtoHAsync");
  return copy(m, device, "cuMemcpyDtoHAsync", to, host(from), bytes, stream, false);
}

GAPLESS_SIM_API cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemcpyDtoDAsync");
  return copy(m, device, "cuMemcpyDtoDAsync", host(to), host(from), bytes, stream, false);
}

// The addresses say whose memory it is; the contexts say with whose work the synchronous form is serialised.
GAPLESS_SIM_API cuMemcpyPeer(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
                             size_t bytes) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemcpyPeer");
  int peers[2];
  if (!device_of(to_context, peers[0]) || !device_of(from_context, peers[1])) return CUDA_ERROR_INVALID_CONTEXT;
  return to_cuda(m->copy(device, resolve_stream(CUstream{}),
                         {.to = host(to),
                          .from = host(from),
                          .bytes = bytes,
                          .synchronous = true,
                          .peers = peers,
                          .name = "cuMemcpyPeer"}));
}

GAPLESS_SIM_API cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
                                  size_t bytes, CUstream stream) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemcpyPeerAsync");
  int peer = 0;
  if (!device_of(to_context, peer) || !device_of(from_context, peer)) return CUDA_ERROR_INVALID_CONTEXT;
  return copy(m, device, "cuMemcpyPeerAsync", host(to), host(from), bytes, stream, false);
}

GAPLESS_SIM_API cuMemcpy2D(const CUDA_MEMCPY2D* description) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemcpy2D");
  return copy_2d(m, device, "cuMemcpy2D", description, nullptr, true);
}

GAPLESS_SIM_API cuMemcpy2DUnaligned(const CUDA_MEMCPY2D* description) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemcpy2DUnaligned");
  return copy_2d(m, device, "cuMemcpy2DUnaligned", description, nullptr, true);
}

GAPLESS_SIM_API cuMemcpy2DAsync(const CUDA_MEMCPY2D* description, CUstream stream) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemcpy2DAsync");
  return copy_2d(m, device, "cuMemcpy2DAsync", description, stream, false);
}

#define GAPLESS_SIM_FILL(suffix, type, width)                                                             \
  GAPLESS_SIM_API cuMemset##suffix(CUdeviceptr to, type value, size_t elements) {                         \
    GAPLESS_SIM_CONTEXT_CALL("cuMemset" #suffix);                                                         \
    return fill(m, device, "cuMemset" #suffix, to, value, width, elements, nullptr, true);                \
  }                                                                                                       \
  GAPLESS_SIM_API cuMemset##suffix##Async(CUdeviceptr to, type value, size_t elements, CUstream stream) { \
    GAPLESS_SIM_CONTEXT_CALL("cuMemset" #suffix "Async");                                                 \
    return fill(m, device, "cuMemset" #suffix "Async", to, value, width, elements, stream, false);        \
  }

GAPLESS_SIM_FILL(D8, unsigned char, 1)
GAPLESS_SIM_FILL(D16, unsigned short, 2)
GAPLESS_SIM_FILL(D32, unsigned int, 4)

#define GAPLESS_SIM_FILL_2D(suffix, type, width)                                                                   \
  GAPLESS_SIM_API cuMemset##suffix(CUdeviceptr to, size_t pitch, type value, size_t elements, size_t rows) {       \
    GAPLESS_SIM_CONTEXT_CALL("cuMemset" #suffix);                                                                  \
    return fill_2d(m, device, "cuMemset" #suffix, to, pitch, value, width, elements, rows, nullptr, true);         \
  }                                                                                                                \
  GAPLESS_SIM_API cuMemset##suffix##Async(CUdeviceptr to, size_t pitch, type value, size_t elements, size_t rows,  \
                                          CUstream stream) {                                                       \
    GAPLESS_SIM_CONTEXT_CALL("cuMemset" #suffix "Async");                                                          \
    return fill_2d(m, device, "cuMemset" #suffix "Async", to, pitch, value, width, elements, rows, stream, false); \
  }

GAPLESS_SIM_FILL_2D(D2D8, unsigned char, 1)
GAPLESS_SIM_FILL_2D(D2D16, unsigned short, 2)
GAPLESS_SIM_FILL_2D(D2D32, unsigned int, 4)

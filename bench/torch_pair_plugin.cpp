// SPDX-License-Identifier: Apache-2.0
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <dlfcn.h>

#include <string>

#include "tools/op.hpp"
#include "torch_pair.h"

namespace c10::cuda::_internal {
// In no header; without an answer, work on several streams aborts when libtorch_cuda is not loaded.
C10_CUDA_API void setHasPrimaryContext(bool (*func)(c10::DeviceIndex));
}  // namespace c10::cuda::_internal

namespace {

using c10::cuda::CUDACachingAllocator::CUDAAllocator;
using gapless::tools::Op;
using gapless::tools::OpKind;

CUDAAllocator* allocators[2] = {nullptr, nullptr};
std::string last_error;  // NOLINT: one thread

void record(CUDAAllocator* allocator, void* pointer, void* stream) {
  c10::DataPtr data(pointer, pointer, allocator->raw_deleter(), c10::Device(c10::kCUDA, 0));
  allocator->recordStream(data, c10::cuda::getStreamFromExternal(static_cast<cudaStream_t>(stream), 0));
  data.release_context();
}

void run(CUDAAllocator* allocator, const Op* ops, size_t count, void** blocks, void* const* streams) {
  for (const Op* op = ops; op != ops + count; ++op) {
    void*& block = blocks[op->id];
    switch (op->kind) {
      case OpKind::allocate:
        block = allocator->raw_alloc_with_stream(op->bytes, static_cast<cudaStream_t>(streams[op->stream]));
        break;
      case OpKind::free:
        if (block != nullptr) allocator->raw_delete(block);
        block = nullptr;
        break;
      case OpKind::record_stream:
        if (block != nullptr) record(allocator, block, streams[op->stream]);
        break;
      default:
        break;
    }
  }
}

template <typename Body>
const char* guarded(Body&& body) {
  try {
    body();
    return nullptr;
  } catch (const c10::Error& error) {
    last_error = error.what_without_backtrace();
    return last_error.c_str();
  } catch (const std::exception& error) {
    last_error = error.what();
    return last_error.c_str();
  }
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const char* torch_pair_open(const char* gapless_torch_library) {
  return guarded([&] {
    // gapless looks at the whole of PyTorch before it installs itself: version, and the interface that libtorch_cuda
    // has.
    TORCH_CHECK(dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_GLOBAL) != nullptr, dlerror());
    c10::cuda::_internal::setHasPrimaryContext([](c10::DeviceIndex) { return true; });
    CUDAAllocator* const native = c10::cuda::CUDACachingAllocator::get();
    void* const library = dlopen(gapless_torch_library, RTLD_NOW | RTLD_GLOBAL);
    TORCH_CHECK(library != nullptr, dlerror());
    const auto install = reinterpret_cast<int (*)()>(dlsym(library, "gapless_torch_install"));
    const auto allocator = reinterpret_cast<void* (*)()>(dlsym(library, "gapless_torch_allocator"));
    TORCH_CHECK(install != nullptr && allocator != nullptr, gapless_torch_library, ": not gapless's library");
    TORCH_CHECK(install() == 0, "gapless was not installed");
    allocators[TORCH_PAIR_NATIVE] = native;
    allocators[TORCH_PAIR_GAPLESS] = static_cast<CUDAAllocator*>(allocator());
    for (CUDAAllocator* each : allocators) each->init(1);
  });
}

extern "C" __attribute__((visibility("default"), noinline)) const char* torch_pair_run(int which, const Op* ops,
                                                                                       size_t count, void** blocks,
                                                                                       void* const* streams) {
  return guarded([&] { run(allocators[which], ops, count, blocks, streams); });
}

extern "C" __attribute__((visibility("default"))) const char* torch_pair_trim() {
  return guarded([] {
    for (CUDAAllocator* each : allocators) each->emptyCache();
  });
}

// SPDX-License-Identifier: Apache-2.0
// libgapless_replay_torch.so: the CUDACachingAllocator of the torch that this was built against.
#include "tools/replay/torch_plugin.h"

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>

#include <exception>
#include <string>

namespace c10::cuda::_internal {
// Exported by libc10_cuda for libtorch_cuda, in no header. Without an answer, events of other streams abort.
C10_CUDA_API void setHasPrimaryContext(bool (*func)(c10::DeviceIndex));
}  // namespace c10::cuda::_internal

namespace {

namespace ccache = c10::cuda::CUDACachingAllocator;

std::string last_error;  // NOLINT: one thread

template <typename Body>
int guarded(Body&& body) {
  try {
    body();
    return GAPLESS_REPLAY_OK;
  } catch (const c10::OutOfMemoryError& error) {
    last_error = error.what_without_backtrace();
    return GAPLESS_REPLAY_OUT_OF_MEMORY;
  } catch (const c10::Error& error) {
    last_error = error.what_without_backtrace();
    return GAPLESS_REPLAY_FAILED;
  } catch (const std::exception& error) {
    last_error = error.what();
    return GAPLESS_REPLAY_FAILED;
  }
}

int open_allocator() {
  return guarded([] {
    c10::cuda::_internal::setHasPrimaryContext([](c10::DeviceIndex) { return true; });
    ccache::get()->init(1);
  });
}

int allocate(uint64_t bytes, void* stream, void** out) {
  return guarded([&] { *out = ccache::raw_alloc_with_stream(bytes, static_cast<cudaStream_t>(stream)); });
}

int deallocate(void* pointer) {
  return guarded([&] { ccache::raw_delete(pointer); });
}

int record_stream(void* pointer, void* stream) {
  return guarded([&] {
    // recordStream takes a DataPtr of this allocator, and knows it by its deleter.
    c10::DataPtr data(pointer, pointer, ccache::get()->raw_deleter(), c10::Device(c10::kCUDA, 0));
    ccache::recordStream(data, c10::cuda::getStreamFromExternal(static_cast<cudaStream_t>(stream), 0));
    data.release_context();
  });
}

int trim() {
  return guarded([] { ccache::emptyCache(); });
}

int set_fraction(double fraction) {
  return guarded([&] { ccache::setMemoryFraction(fraction, 0); });
}

uint64_t retries() {
  return static_cast<uint64_t>(ccache::getDeviceStats(0).num_alloc_retries);
}

const char* error_text() {
  return last_error.c_str();
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const gapless_replay_plugin* gapless_replay_torch_plugin() {
  static const gapless_replay_plugin plugin = {
      GAPLESS_REPLAY_PLUGIN_VERSION,
      open_allocator,
      allocate,
      deallocate,
      record_stream,
      trim,
      set_fraction,
      retries,
      error_text,
  };
  return &plugin;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The allocator that PyTorch's documentation shows for CUDAPluggableAllocator: cudaMalloc and cudaFree, and nothing more. It
 * counts its calls. The runtime is the one that PyTorch has loaded, so that this needs no CUDA to be built. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/types.h>

static int mallocs;
static int frees;

static void* runtime_function(const char* name) {
  return dlsym(RTLD_DEFAULT, name);
}

int plain_mallocs(void) {
  return mallocs;
}

int plain_frees(void) {
  return frees;
}

void* plain_malloc(ssize_t bytes, int device, void* stream) {
  int (*const allocate)(void**, size_t) = (int (*)(void**, size_t))runtime_function("cudaMalloc");
  int (*const clear)(void) = (int (*)(void))runtime_function("cudaGetLastError");
  void* pointer = NULL;
  (void)device;
  (void)stream;
  if (allocate(&pointer, (size_t)bytes) != 0) {
    clear();
    return NULL;
  }
  mallocs++;
  return pointer;
}

void plain_free(void* pointer, ssize_t bytes, int device, void* stream) {
  int (*const release)(void*) = (int (*)(void*))runtime_function("cudaFree");
  (void)bytes;
  (void)device;
  (void)stream;
  frees++;
  release(pointer);
}

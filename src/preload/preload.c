/* SPDX-License-Identifier: Apache-2.0
 *
 * LD_PRELOAD=.../libgapless_preload.so: makes gapless PyTorch's CUDA allocator with no change to the program.
 *
 * Needs libc only and does nothing until PyTorch starts CUDA, because a preloaded library is loaded into every child of
 * the program too: shells, compilers, data loading workers. (One that linked PyTorch would keep bash from starting.)
 *
 * The one interposed function is the last that at::cuda's CUDAHooks::init calls before it initialises the allocator:
 * all static initialisers have run by then, no loader lock is held, and it is called once a process. It is called
 * through the PLT in every wheel from 2.9 to 2.15, and a preload is first in every lookup scope, so it is found
 * although Python loads PyTorch locally.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trusted_file.h"

/* int8_t c10::cuda::device_count_ensure_non_zero() */
#define INTERPOSED "_ZN3c104cuda28device_count_ensure_non_zeroEv"
typedef int8_t (*device_count_function)(void);
__attribute__((visibility("default"))) int8_t _ZN3c104cuda28device_count_ensure_non_zeroEv(void);

enum { PATH_BYTES = 4096, LINE_BYTES = PATH_BYTES + 512 };

/* One line, one write: the program's own output is left in peace. */
__attribute__((format(printf, 1, 2))) static void warn(const char* format, ...) {
  char line[LINE_BYTES];
  int length = snprintf(line, sizeof line, "gapless: not installed, PyTorch's own allocator stays: ");
  va_list arguments;
  va_start(arguments, format);
  length += vsnprintf(line + length, sizeof line - (size_t)length - 1, format, arguments);
  va_end(arguments);
  if (length > (int)sizeof line - 2) length = (int)sizeof line - 2;
  line[length] = '\n';
  ssize_t written = write(STDERR_FILENO, line, (size_t)length + 1);
  (void)written;
}

/* The folder of this library, without a trailing slash. */
static int own_folder(char* folder, size_t capacity) {
  Dl_info self;
  if (dladdr((void*)(uintptr_t)&own_folder, &self) == 0 || self.dli_fname == NULL) return 0;
  if ((size_t)snprintf(folder, capacity, "%s", self.dli_fname) >= capacity) return 0;
  char* slash = strrchr(folder, '/');
  if (slash == NULL) return 0; /* found through the loader's search path by a bare name: do not guess */
  *slash = '\0';
  return 1;
}

/* Which PyTorch is in this process; 0 if it cannot tell. */
static int torch_version(unsigned* major, unsigned* minor) {
  void* library = dlopen("libtorch_cpu.so", RTLD_LAZY | RTLD_NOLOAD);
  uint64_t (*abi_version)(void) =
      library == NULL ? NULL : (uint64_t(*)(void))(uintptr_t)dlsym(library, "aoti_torch_abi_version");
  if (abi_version == NULL) return 0;
  uint64_t version = abi_version();
  *major = (unsigned)(version >> 56 & 0xff);
  *minor = (unsigned)(version >> 48 & 0xff);
  return 1;
}

static void install(void) {
  char folder[PATH_BYTES];
  char path[PATH_BYTES];
  char why[256];
  unsigned major = 0;
  unsigned minor = 0;
  if (gapless_is_privileged()) {
    warn("the process runs with raised privileges");
    return;
  }
  if (!own_folder(folder, sizeof folder)) {
    warn("libgapless_preload.so does not know its folder; name it by its path in LD_PRELOAD");
    return;
  }
  if (!torch_version(&major, &minor)) {
    warn("this PyTorch does not say which version it is");
    return;
  }
  if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, GAPLESS_CORE_FILE) >= sizeof path) {
    warn("its folder's path is too long");
    return;
  }
  if (!gapless_is_trusted(path, why, sizeof why)) {
    warn("%s: %s", path, why);
    return;
  }
  /* `gapless run` says where a library is that was compiled for its PyTorch; a child may have another one. */
  char name[64];
  (void)snprintf(name, sizeof name, "libgapless_torch%u.%u.so", major, minor);
  const char* compiled = getenv("GAPLESS_TORCH_LIBRARY");
  const char* file = compiled == NULL ? NULL : strrchr(compiled, '/');
  int length = file != NULL && strcmp(file + 1, name) == 0 ? snprintf(path, sizeof path, "%s", compiled)
                                                           : snprintf(path, sizeof path, "%s/%s", folder, name);
  if ((size_t)length >= sizeof path) {
    warn("its folder's path is too long");
    return;
  }
  if (access(path, F_OK) != 0) {
    warn("this is PyTorch %u.%u, and there is no %s", major, minor, path);
    return;
  }
  if (!gapless_is_trusted(path, why, sizeof why)) {
    warn("%s: %s", path, why);
    return;
  }
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  int (*torch_install)(void) =
      library == NULL ? NULL : (int (*)(void))(uintptr_t)dlsym(library, "gapless_torch_install");
  if (torch_install == NULL) {
    warn("%s", dlerror());
    return;
  }
  (void)torch_install(); /* says itself what keeps it from installing */
}

static device_count_function real_function(void) {
  device_count_function found = (device_count_function)(uintptr_t)dlsym(RTLD_NEXT, INTERPOSED);
  if (found != NULL) return found;
  /* Python loads PyTorch locally: it is not in the scope that RTLD_NEXT searches. */
  void* library = dlopen("libc10_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
  return library == NULL ? NULL : (device_count_function)(uintptr_t)dlsym(library, INTERPOSED);
}

int8_t _ZN3c104cuda28device_count_ensure_non_zeroEv(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  device_count_function real = real_function();
  if (real == NULL) { /* unreachable: the caller is PyTorch, so its library is loaded */
    static const char line[] = "gapless: libc10_cuda.so is not loaded\n";
    ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);
    (void)written;
    abort();
  }
  /* First PyTorch's own check, which raises when there is no GPU: then there is nothing to install on. */
  int8_t count = real();
  pthread_once(&once, install);
  return count;
}

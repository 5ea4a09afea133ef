/* SPDX-License-Identifier: Apache-2.0
 *
 * gapless_sim.h: what the simulated libcuda.so.1 exports for tools and tests, besides CUDA's own functions.
 *
 * A tool finds these by dlsym in the libcuda.so.1 that is loaded (RTLD_DEFAULT, or its dlopen handle): a real
 * libcuda.so.1 has none of them, so `dlsym(handle, "gapless_sim_configure") != NULL` is the test for "this is the
 * simulation".
 *
 * Every function may be called from any thread. The ones that return int return 0, or a CUresult with a text in
 * gapless_sim_last_error(). Bytes are bytes; devices are CUDA ordinals; streams are CUstream (NULL: legacy default).
 *
 * A child forked after the first CUDA call gets NOT_INITIALIZED from every CUDA call, as with a real driver.
 */
#ifndef GAPLESS_SIM_H
#define GAPLESS_SIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GAPLESS_SIM_EXPORT __attribute__((visibility("default")))

/* ------------------------------------------------------------------ configuration */

/* Changes the machine that is about to be simulated. `options` is the text form of driver/sim/config.hpp, as in the
 * environment variable GAPLESS_SIM, which gives the defaults:
 * "size=80GiB,devices=1,other=0,seed=1,completion=lag:0,strict=0,stats=FILE", keys in any order, all optional. Errors:
 * INVALID_VALUE (1) for an unknown key or a bad value; ILLEGAL_STATE (401) once the machine exists, that is after the
 * first CUDA call that needs it. */
GAPLESS_SIM_EXPORT int gapless_sim_configure(const char* options);

/* Text of the last failure of a gapless_sim_ function on the calling thread, or "". */
GAPLESS_SIM_EXPORT const char* gapless_sim_last_error(void);

/* ------------------------------------------------------------------ what happened */

/* Physical bytes in use on a device by this process (the bytes of other processes are not in it), and their highest
 * value. */
GAPLESS_SIM_EXPORT uint64_t gapless_sim_physical_bytes(int device);
GAPLESS_SIM_EXPORT uint64_t gapless_sim_physical_bytes_peak(int device);

/* Broken rules reported so far; the reports are in the JSON and on stderr. */
GAPLESS_SIM_EXPORT uint64_t gapless_sim_violations(void);

/* Calls of one function of the driver or the runtime API by its exported name ("cuMemMap", "cudaMalloc"). A runtime
 * call is not also counted as the driver calls that it stands for. */
GAPLESS_SIM_EXPORT uint64_t gapless_sim_calls(const char* function);

/* Every function called since the last reset, in the order of names. Kinds: */
enum {
  GAPLESS_SIM_DRIVER = 0,  /* a driver or runtime function that is simulated */
  GAPLESS_SIM_MATHS = 1,   /* a function of a maths library's stand-in: does nothing, succeeds */
  GAPLESS_SIM_MISSING = 2, /* a driver or runtime function that is not simulated: it failed with "not supported" */
  GAPLESS_SIM_KERNEL = 3,  /* launches, by kernel name; counted only while GAPLESS_SIM_COUNT_KERNELS=1 */
  GAPLESS_SIM_NOT_JUDGED =
      4 /* strict mode: launches that nobody declared the memory of, by name of kernel or routine */
};
typedef void (*gapless_sim_call_visitor)(void* user, const char* function, int kind, uint64_t calls);
GAPLESS_SIM_EXPORT void gapless_sim_visit_calls(gapless_sim_call_visitor visitor, void* user);

/* Sets the call counters to zero and the peaks to what is in use. Memory, streams and violations stay. */
GAPLESS_SIM_EXPORT void gapless_sim_reset_counters(void);

/* The statistics as JSON: physical_bytes, physical_bytes_peak (summed over devices), violations, seed, again (the shell
 * command that runs the same again), operations, driver_calls {name: count}, missing_calls, maths_calls, kernels,
 * launches_not_judged (empty outside strict mode), devices, violation_reports. Returns the length without the NUL, as
 * snprintf does; writes at most `capacity` bytes, always terminated. */
GAPLESS_SIM_EXPORT size_t gapless_sim_stats_json(char* buffer, size_t capacity);
GAPLESS_SIM_EXPORT int gapless_sim_write_stats(const char* path);

/* ------------------------------------------------------------------ watching the calls */

/* One finished call of a function that makes, maps, frees or waits for memory or orders streams: cuMem*, cudaMalloc*,
 * cudaFree*, event record, query and synchronize, stream wait, stream, context and device synchronize. The arguments
 * are those that matter for a log and for modelled times, 0 where a function has none. */
typedef struct gapless_sim_call {
  size_t struct_size;
  const char* function; /* static: "cuMemMap", "cudaMalloc" */
  int result;
  int device;
  uint64_t address; /* range or result address */
  uint64_t bytes;
  uint64_t handle; /* cuMemCreate (made), cuMemMap, cuMemRelease */
  uint64_t stream; /* id of the stream, not its pointer, so that a log is the same in every run */
  uint64_t event;  /* likewise */
} gapless_sim_call;
/* Called on the calling thread after the call, outside the machine's lock; NULL removes it. Set before threads start.
 */
typedef void (*gapless_sim_observer)(void* user, const gapless_sim_call* call);
GAPLESS_SIM_EXPORT void gapless_sim_set_observer(gapless_sim_observer observer, void* user);

/* Enqueues one operation that reads or writes [address, address + bytes) of device memory: what strict mode judges. */
GAPLESS_SIM_EXPORT int gapless_sim_access(int device, void* stream, uint64_t address, size_t bytes, int write);

/* ------------------------------------------------------------------ driving the device */

/* Enqueues `operations` empty operations on a stream, as that many kernel launches would. */
GAPLESS_SIM_EXPORT int gapless_sim_issue(int device, void* stream, uint64_t operations);

/* As if `operations` had been enqueued on the device's legacy stream, in constant time: what "+OPS" means in a trace
 * (lag:N counts operations). */
GAPLESS_SIM_EXPORT int gapless_sim_advance(int device, uint64_t operations);

/* Completes up to `operations` pending operations of a stream whose dependencies are complete, and returns how many it
 * did. For the schedule "manual"; harmless under the others. */
GAPLESS_SIM_EXPORT uint64_t gapless_sim_step(int device, void* stream, uint64_t operations);

/* With `threads_separate=1` a host thread knows only what it learnt itself. The machine cannot see a program's locks
 * and queues: a thread publishes what it knows under a number of its choice, another takes that over. */
GAPLESS_SIM_EXPORT int gapless_sim_host_release(uint64_t token);
GAPLESS_SIM_EXPORT int gapless_sim_host_acquire(uint64_t token);

/* The capacity of a device and what other processes hold of it, from now on. */
GAPLESS_SIM_EXPORT int gapless_sim_set_size(int device, uint64_t bytes);
GAPLESS_SIM_EXPORT int gapless_sim_set_other_process_bytes(int device, uint64_t bytes);

/* Once `after` more calls of a driver function ("cuMemSetAccess", also on behalf of the runtime) have run as usual, the
 * next one does nothing and gives `result`, a CUresult other than 0. One failure a function: another call replaces it.
 */
GAPLESS_SIM_EXPORT int gapless_sim_fail_call(const char* function, uint64_t after, int result);

/* Called after each host synchronisation with the stream's id (0: legacy default), or -1 for a whole device; NULL:
 * none. */
GAPLESS_SIM_EXPORT int gapless_sim_on_synchronize(void (*callback)(int stream_id));

/* ------------------------------------------------------------------ kernels */

typedef struct gapless_sim_launch {
  size_t struct_size;
  const char* kernel; /* mangled name */
  int device;
  void* stream;
  unsigned grid[3];
  unsigned block[3];
  size_t shared_bytes;
  void* const* parameters; /* one pointer to each argument, as cudaLaunchKernel takes them */
  void* user;
} gapless_sim_launch;

/* A body runs when the launch completes in the stream's order, on whichever thread made that happen. It must not call
 * CUDA. Device addresses in its arguments are not host addresses: gapless_sim_translate gives those. */
typedef void (*gapless_sim_kernel_body)(const gapless_sim_launch* launch);

/* Kernels without a body do nothing. `parameter_bytes` has the size of each argument: a launch copies them, as a device
 * does. A NULL body removes it. Errors: INVALID_VALUE. */
GAPLESS_SIM_EXPORT int gapless_sim_register_kernel(const char* kernel, gapless_sim_kernel_body body, void* user,
                                                   const size_t* parameter_bytes, size_t parameter_count);

/* What a launch touches, for strict mode: called while the launch is enqueued, on the launching thread, with the
 * caller's own parameters. It calls `add` once for each range of device memory, in any order; what it cannot know from
 * the arguments stays unchecked. It must not call CUDA. An access that a device refuses keeps the body from running. */
typedef void (*gapless_sim_add_range)(void* ranges, uint64_t address, size_t bytes, int write);
typedef void (*gapless_sim_kernel_ranges)(const gapless_sim_launch* launch, gapless_sim_add_range add, void* ranges);

/* Declares the ranges of a kernel, with or without a body. NULL `ranges` removes it. Errors: INVALID_VALUE. */
GAPLESS_SIM_EXPORT int gapless_sim_register_ranges(const char* kernel, gapless_sim_kernel_ranges ranges, void* user);

/* The host address behind [address, address + bytes) of device memory, or NULL: unmapped, not contiguous, or the device
 * keeps no data (the default: book keeping only). */
GAPLESS_SIM_EXPORT void* gapless_sim_translate(uint64_t address, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif /* GAPLESS_SIM_H */

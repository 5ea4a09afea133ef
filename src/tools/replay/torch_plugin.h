/* SPDX-License-Identifier: Apache-2.0
 *
 * The allocator inside PyTorch's libc10_cuda.so behind a table of C functions, so that gapless-replay itself builds
 * without torch. libgapless_replay_torch.so implements it.
 */
#ifndef GAPLESS_TOOLS_REPLAY_TORCH_PLUGIN_H
#define GAPLESS_TOOLS_REPLAY_TORCH_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GAPLESS_REPLAY_PLUGIN_VERSION 1

enum { GAPLESS_REPLAY_OK = 0, GAPLESS_REPLAY_OUT_OF_MEMORY = 1, GAPLESS_REPLAY_FAILED = 2 };

/* The functions return one of the above; `error` is the text of the last that was not OK. Device 0, one thread. */
typedef struct gapless_replay_plugin {
  uint32_t version;
  int (*open)(void);
  int (*allocate)(uint64_t bytes, void* stream, void** out);
  int (*deallocate)(void* pointer);
  int (*record_stream)(void* pointer, void* stream);
  int (*trim)(void);
  int (*set_fraction)(double fraction);
  uint64_t (*retries)(void);
  const char* (*error)(void);
} gapless_replay_plugin;

/* The one symbol that the library exports. */
#define GAPLESS_REPLAY_PLUGIN_SYMBOL "gapless_replay_torch_plugin"
typedef const gapless_replay_plugin* (*gapless_replay_plugin_getter)(void);

#ifdef __cplusplus
}
#endif
#endif

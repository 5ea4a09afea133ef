/* SPDX-License-Identifier: Apache-2.0
 *
 * gapless.h: the C ABI of gapless, a caching allocator for CUDA device memory.
 *
 * C11, no CUDA header needed, no library of NVIDIA's needed to load libgapless.so: the driver
 * (libcuda.so.1) is opened at gapless_open().
 *
 * Rules that hold for every function unless its comment says otherwise:
 *  - Sizes and addresses are in bytes, devices are CUDA ordinals, times are nanoseconds.
 *  - Every function may be called from any thread at any time; the handle must be open.
 *  - A function that returns gapless_status leaves its outputs untouched unless it returns
 *    GAPLESS_OK. No function throws, aborts or prints.
 *  - Structs passed in and out carry their own size in the first member `struct_size`, set by the
 *    caller with GAPLESS_STRUCT(...); a library that knows a longer struct treats the missing tail as
 *    zero, one that knows a shorter struct fills what it knows and leaves the rest untouched.
 *  - Callbacks run with no lock of gapless held, so they may call back into gapless, except where
 *    a comment says otherwise. They must not throw.
 *  - `stream` is a CUstream / cudaStream_t, NULL and 0x1 are the legacy default stream, 0x2 the per-thread one.
 *  - Memory is stream-ordered: a block returned for stream S may be used by work enqueued on S after
 *    the call returned; work on other streams must be ordered after it by the caller, and told to
 *    gapless with gapless_record_stream before the block is deallocated.
 */
#ifndef GAPLESS_GAPLESS_H
#define GAPLESS_GAPLESS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GAPLESS_VERSION_MAJOR 0
#define GAPLESS_VERSION_MINOR 1
#define GAPLESS_VERSION_PATCH 0
/* Bumped when something that existed changes its meaning; additions do not bump it. */
#define GAPLESS_ABI_VERSION 1

#define GAPLESS_EXPORT __attribute__((visibility("default")))
#define GAPLESS_NODISCARD __attribute__((warn_unused_result))

/* Initialises a versioned struct: `gapless_stats stats = GAPLESS_STRUCT(gapless_stats);` */
#ifdef __cplusplus
#define GAPLESS_STRUCT(type) gapless_detail_zeroed<type>()
#else
#define GAPLESS_STRUCT(type) {.struct_size = sizeof(type)}
#endif

typedef enum gapless_status {
  GAPLESS_OK = 0,
  GAPLESS_ERROR_INVALID_ARGUMENT = 1, /* NULL output, unknown device, unknown enum value, short struct_size */
  GAPLESS_ERROR_UNKNOWN_POINTER = 2,  /* not the start of a live block of this allocator */
  GAPLESS_ERROR_OUT_OF_MEMORY = 3,    /* nothing changed; gapless_last_oom says why */
  GAPLESS_ERROR_UNSUPPORTED = 4,      /* the device or driver cannot do this (no virtual memory management, say) */
  GAPLESS_ERROR_DRIVER = 5,           /* the driver failed: gapless_last_driver_error */
  GAPLESS_ERROR_IN_CAPTURE = 6,       /* not possible while the stream captures */
  GAPLESS_ERROR_BUSY = 7,             /* the object is in use (a pool with live blocks, say) */
  GAPLESS_ERROR_NOT_FOUND = 8,        /* no such pool, option, record */
  GAPLESS_ERROR_INTERNAL = 9          /* a broken invariant: a bug in gapless; the text names it */
} gapless_status;

/* A name such as "out of memory"; static storage, never NULL. */
GAPLESS_EXPORT const char* gapless_status_name(gapless_status status);

/* The detail of the last failure on the calling thread ("cuMemCreate: CUDA_ERROR_OUT_OF_MEMORY (2)"), or "".
 * Valid until the thread's next call into gapless. */
GAPLESS_EXPORT const char* gapless_last_error(void);
/* The CUresult of the last GAPLESS_ERROR_DRIVER on the calling thread, else 0. */
GAPLESS_EXPORT int gapless_last_driver_error(void);

/* "0.1.0" and GAPLESS_ABI_VERSION of the library that is loaded. */
GAPLESS_EXPORT const char* gapless_version(void);
GAPLESS_EXPORT uint32_t gapless_abi_version(void);

/* ------------------------------------------------------------------ allocator */

/* One allocator serves all devices of the process. */
typedef struct gapless_allocator gapless_allocator;
typedef void* gapless_stream;

typedef struct gapless_open_args {
  size_t struct_size;
  /* Options, in the grammar of GAPLESS_CONF ("slack:1.02,eager_unmap:true"); NULL: none. They win over the environment. */
  const char* options;
  /* Non-zero: do not read GAPLESS_CONF, PYTORCH_CUDA_ALLOC_CONF, PYTORCH_ALLOC_CONF. */
  int32_t ignore_environment;
} gapless_open_args;

/* Opens the driver and makes an allocator. No context is created and no memory reserved before the first
 * allocation on a device (with fabric_handles: before its first use in any call). `args` may be NULL.
 * Errors: UNSUPPORTED (no driver; a forked child, where an allocator of its parent was in use), INVALID_ARGUMENT (options). */
GAPLESS_NODISCARD GAPLESS_EXPORT gapless_status gapless_open(const gapless_open_args* args, gapless_allocator** out);

/* Gives everything back. Not thread-safe against other calls on the same allocator.
 * Errors: BUSY while blocks are live (nothing changes). */
GAPLESS_EXPORT gapless_status gapless_close(gapless_allocator* allocator);

GAPLESS_EXPORT gapless_status gapless_device_count(gapless_allocator* allocator, int32_t* out);

/* OK if the device can be served; UNSUPPORTED (no virtual memory management) with the reason in gapless_last_error. */
GAPLESS_EXPORT gapless_status gapless_probe_device(gapless_allocator* allocator, int32_t device);

/* ------------------------------------------------------------------ blocks */

/* Allocates `bytes` for work on `stream`. The address is a multiple of 512. 0 bytes: OK with *out = NULL.
 * Host threads never wait for the device here unless the statistics `stalls` says so.
 * Errors: OUT_OF_MEMORY (after the miss ladder and the hook; nothing changed), DRIVER, IN_CAPTURE, UNSUPPORTED. */
GAPLESS_NODISCARD GAPLESS_EXPORT gapless_status gapless_allocate(gapless_allocator* allocator, int32_t device,
                                                                 gapless_stream stream, size_t bytes, void** out);

/* Gives a block back. Never waits, never fails for a live block; NULL is OK. The memory is reused in the order of
 * the block's stream, and of the streams recorded on it.
 * Errors: UNKNOWN_POINTER. */
GAPLESS_EXPORT gapless_status gapless_deallocate(gapless_allocator* allocator, void* pointer);

/* The block is also used by work already enqueued (or to be enqueued before gapless_deallocate) on `stream`, any stream of the
 * block's device, also one that gapless has not met. The handle is kept, not looked at: the driver is asked about it when the block
 * is deallocated, and while memory is short, so the stream must exist until then, or be given to gapless_forget_stream before it is
 * destroyed. One that the driver then refuses keeps the memory back until the whole device has been waited for.
 * Errors: UNKNOWN_POINTER. */
GAPLESS_EXPORT gapless_status gapless_record_stream(gapless_allocator* allocator, void* pointer, gapless_stream stream);

/* The program is about to destroy `stream`: call it before, when all work on its blocks is enqueued. Its blocks stay valid and
 * may be deallocated later; no later call touches the handle, and a new stream may have the same one. Without it, memory that a
 * destroyed stream used last may cost the next user a wait for the whole device, and the driver is asked about a dead handle.
 * Errors: IN_CAPTURE. */
GAPLESS_EXPORT gapless_status gapless_forget_stream(gapless_allocator* allocator, int32_t device, gapless_stream stream);

typedef struct gapless_block_info {
  size_t struct_size;
  void* address;
  size_t bytes;           /* rounded size: what counts as allocated */
  size_t requested_bytes; /* as asked for */
  int32_t device;
  int32_t is_small;       /* in PyTorch's small pool */
  gapless_stream stream;
  uint64_t cookie;
  void* segment_address;  /* the contiguous mapped range that holds it */
  size_t segment_bytes;
} gapless_block_info;

/* `pointer` may be inside a block. Errors: UNKNOWN_POINTER. */
GAPLESS_EXPORT gapless_status gapless_block_of(gapless_allocator* allocator, const void* pointer, gapless_block_info* out);

/* An opaque value kept with the block (a context, say). When the block's memory has become free for reuse, or the cookie is
 * replaced, the release callback given to gapless_set_listener is called with the old value. 0: none. */
GAPLESS_EXPORT gapless_status gapless_set_cookie(gapless_allocator* allocator, void* pointer, uint64_t cookie);

/* ------------------------------------------------------------------ statistics */

/* As PyTorch's torch::CachingDeviceAllocator::Stat. */
typedef struct gapless_stat {
  int64_t current, peak, allocated, freed;
} gapless_stat;

/* Index of the arrays below, PyTorch's StatType. */
enum { GAPLESS_ALL = 0, GAPLESS_SMALL_POOL = 1, GAPLESS_LARGE_POOL = 2, GAPLESS_STAT_TYPES = 3 };

/* PyTorch's DeviceStats, in its definitions, then gapless's own counters. */
typedef struct gapless_stats {
  size_t struct_size;
  gapless_stat allocation[GAPLESS_STAT_TYPES];
  gapless_stat segment[GAPLESS_STAT_TYPES];
  gapless_stat active[GAPLESS_STAT_TYPES];
  gapless_stat inactive_split[GAPLESS_STAT_TYPES];
  gapless_stat allocated_bytes[GAPLESS_STAT_TYPES];
  gapless_stat reserved_bytes[GAPLESS_STAT_TYPES];
  gapless_stat active_bytes[GAPLESS_STAT_TYPES];
  gapless_stat inactive_split_bytes[GAPLESS_STAT_TYPES];
  gapless_stat requested_bytes[GAPLESS_STAT_TYPES];
  gapless_stat oversize_allocations;
  gapless_stat oversize_segments;
  int64_t num_alloc_retries;
  int64_t num_ooms;
  int64_t num_sync_all_streams;
  int64_t num_device_alloc; /* physical handles created */
  int64_t num_device_free;  /* physical handles released */
  int64_t max_split_size;
  /* ---- gapless */
  int64_t hits;            /* allocations that made no driver call */
  int64_t misses;          /* allocations whose slots had to be backed */
  int64_t reactivations;   /* slots backed by their own dormant mapping: no driver call */
  int64_t moves;           /* handles mapped at another slot */
  int64_t lends;           /* blocks handed to another stream */
  int64_t wait_edges;      /* cuStreamWaitEvent calls */
  int64_t stalls;          /* host waits inside an allocation */
  int64_t pinned_bytes;    /* physical bytes that may not move (IPC, captures) */
  int64_t dormant_mappings;
  int64_t idle_bytes;      /* physical bytes under no live or pending block */
  int64_t reserved_address_bytes;
  /* Of the steps marked with gapless_mark_step, while the option learn is on: blocks over 1 MiB that had a counterpart in the last
   * step of the same label (the n-th of a size is that of the n-th of the size), and how many of them got its address. */
  int64_t large_repeated;
  int64_t large_kept;
} gapless_stats;

GAPLESS_EXPORT gapless_status gapless_get_stats(gapless_allocator* allocator, int32_t device, gapless_stats* out);
GAPLESS_EXPORT gapless_status gapless_reset_peak_stats(gapless_allocator* allocator, int32_t device);
GAPLESS_EXPORT gapless_status gapless_reset_accumulated_stats(gapless_allocator* allocator, int32_t device);

/* ------------------------------------------------------------------ limits and trimming */

/* At most `bytes` of physical memory on the device; SIZE_MAX: no limit. Applies to the future: nothing is released. */
GAPLESS_EXPORT gapless_status gapless_set_limit(gapless_allocator* allocator, int32_t device, size_t bytes);
GAPLESS_EXPORT gapless_status gapless_get_limit(gapless_allocator* allocator, int32_t device, size_t* out);

/* Waits for pending uses, then releases idle physical memory until at most `keep` bytes stay reserved (0: all that is idle).
 * Private pools are trimmed only when `pool` names one. *released may be NULL. */
typedef struct gapless_pool_id {
  uint64_t high, low; /* PyTorch's MempoolId_t: (capture, 0), (0, user) or (0, 0), the default pool */
} gapless_pool_id;
GAPLESS_EXPORT gapless_status gapless_trim(gapless_allocator* allocator, int32_t device, gapless_pool_id pool, size_t keep,
                                           size_t* released);

/* The largest block that could be had now without an OOM (PyTorch's cacheInfo). */
GAPLESS_EXPORT gapless_status gapless_largest_available(gapless_allocator* allocator, int32_t device, size_t* out);

/* Backs `bytes` of physical memory ahead, so that a first step makes no driver call for it. It is an allocation of that size and
 * its free: the peaks of the statistics and the cap on creation follow it, a listener sees its events, and with memory short it
 * fails as an allocation does. */
GAPLESS_EXPORT gapless_status gapless_warm_up(gapless_allocator* allocator, int32_t device, gapless_stream stream, size_t bytes);

/* Makes at most one granule of physical memory ahead of need: what the thread of the option background_creation does as
 * long as it finds something to do, for programs that would rather choose the moments. A request that is being served
 * meanwhile by another thread takes it; ahead of all requests at most a twentieth of what is reserved is made, and
 * never beyond the option `slack`. *made: 1, or 0 when nothing was wanted or could be had; may be NULL. */
GAPLESS_EXPORT gapless_status gapless_create_ahead(gapless_allocator* allocator, int32_t device, int32_t* made);

/* ------------------------------------------------------------------ pools */

/* Decides, for an allocation on `stream` by the calling thread, whether an open scope takes it. Called with no lock held. */
typedef int32_t (*gapless_pool_filter)(void* user, gapless_stream stream);

/* Where a pool gets its segments; NULL members: from gapless itself. `allocate` returns NULL when it has none. Called with no lock
 * held; it may call back, but an allocation of the same thread that is routed to the same pool and finds no memory there fails
 * with GAPLESS_ERROR_BUSY. */
typedef struct gapless_segment_source {
  size_t struct_size;
  void* user;
  void* (*allocate)(void* user, int32_t device, gapless_stream stream, size_t bytes);
  void (*deallocate)(void* user, int32_t device, void* segment, size_t bytes);
  void (*destroy)(void* user); /* the pool has returned its last segment and will not ask again; at gapless_close at the latest */
} gapless_segment_source;

/* Use counts as PyTorch's: create adds one (making the pool when new), begin adds one, release takes one. A pool without uses
 * gives its memory back as its blocks die. `source` may be NULL; OK takes it over: a pool that has one already keeps that and
 * the one given is destroyed. */
GAPLESS_EXPORT gapless_status gapless_pool_create(gapless_allocator* allocator, int32_t device, gapless_pool_id pool,
                                                  const gapless_segment_source* source);
GAPLESS_EXPORT gapless_status gapless_pool_release(gapless_allocator* allocator, int32_t device, gapless_pool_id pool);
GAPLESS_EXPORT gapless_status gapless_pool_use_count(gapless_allocator* allocator, int32_t device, gapless_pool_id pool,
                                                     int32_t* out);
/* What a graph's capture allocates must come from a pool that lives as long as the graph: its addresses are used again by each
 * launch, and only a pool keeps them from others.
 *
 * Opens a scope: allocations that `filter` accepts go to the pool. Scopes nest, the innermost that accepts wins. `destroy` (may
 * be NULL) is called with `user` when the scope has ended. */
GAPLESS_EXPORT gapless_status gapless_pool_begin(gapless_allocator* allocator, int32_t device, gapless_pool_id pool,
                                                 gapless_pool_filter filter, void* user, void (*destroy)(void* user));
GAPLESS_EXPORT gapless_status gapless_pool_end(gapless_allocator* allocator, int32_t device, gapless_pool_id pool);

enum {
  GAPLESS_POOL_USE_ON_OOM = 1, /* other pools may take this pool's free memory before an OOM */
  GAPLESS_POOL_NO_SPLIT = 2    /* blocks are not split */
};
GAPLESS_EXPORT gapless_status gapless_pool_set_flag(gapless_allocator* allocator, int32_t device, gapless_pool_id pool,
                                                    uint32_t flag, int32_t on);

/* Live blocks of a pool, ascending by address: returns the number, writes at most `capacity` addresses. */
GAPLESS_EXPORT gapless_status gapless_pool_live_blocks(gapless_allocator* allocator, int32_t device, gapless_pool_id pool,
                                                       void** addresses, size_t capacity, size_t* count);

/* The layout of a pool at one moment. Restoring it frees what is live now, then makes the blocks live that were live then, at
 * their addresses. The two callbacks (may be NULL) see each address freed and each made live.
 * Errors of restore: INVALID_ARGUMENT when the pool's segments no longer hold that layout (nothing changed). */
typedef struct gapless_checkpoint gapless_checkpoint;
GAPLESS_EXPORT gapless_status gapless_pool_checkpoint(gapless_allocator* allocator, int32_t device, gapless_pool_id pool,
                                                      gapless_checkpoint** out);
GAPLESS_EXPORT gapless_status gapless_pool_restore(gapless_allocator* allocator, int32_t device,
                                                   const gapless_checkpoint* checkpoint, void* user,
                                                   void (*freed)(void* user, void* address),
                                                   void (*allocated)(void* user, void* address));
GAPLESS_EXPORT void gapless_checkpoint_destroy(gapless_checkpoint* checkpoint);

/* ------------------------------------------------------------------ constant buffers */

/* Buffers for input pipelines whose addresses stay: a batch of one shape is at one of a few addresses in every step, so that
 * captured graphs, registered memory and whatever remembers addresses find it again. See docs/constant_buffers.md.
 *
 * Buffers come in classes, named by the caller: one for each shape of a batch. A class has a ring of `depth` buffers, so that one
 * is filled while another is read. A lease is the use of one buffer and belongs to one stream at a time: the stream it was
 * acquired for, then the one that it was passed to, whose work is ordered behind what the stream before had enqueued. Released,
 * the buffer is used again in the order of that stream. Of this section only trim and destroy wait for the device by themselves;
 * a request that makes a buffer may, as gapless_allocate may, and so may the driver's copy from pageable memory. Leases are
 * neither acquired, passed nor released on a stream that captures (IN_CAPTURE): a graph's lease is acquired before the capture
 * and held as long as the graph. A lease of the per-thread default stream is passed and released by its own thread. */
typedef struct gapless_constant_pool gapless_constant_pool;

typedef struct gapless_constant_pool_args {
  size_t struct_size;
  int32_t device;
  uint32_t depth; /* buffers that a class begins with; 0: 2 */
  uint32_t most;  /* buffers that it may grow to while all are leased; 0: as many as `depth` */
} gapless_constant_pool_args;

/* Allocates nothing on the device. Destroyed before its allocator closes. `args` NULL: device 0, two buffers a class. */
GAPLESS_NODISCARD GAPLESS_EXPORT gapless_status gapless_constant_pool_create(gapless_allocator* allocator,
                                                                             const gapless_constant_pool_args* args,
                                                                             gapless_constant_pool** out);
/* Waits for the work on its buffers, then gives them back. Not thread-safe against other calls on the same pool. NULL is OK.
 * Errors: BUSY while leases are out (nothing changes). */
GAPLESS_EXPORT gapless_status gapless_constant_pool_destroy(gapless_constant_pool* pool);

typedef struct gapless_lease {
  size_t struct_size;
  void* address;   /* a multiple of 512 */
  size_t bytes;    /* as asked for */
  uint64_t ticket; /* names the lease; never 0, never used twice in a pool */
} gapless_lease;

/* The next buffer of a class, for work on `stream`. The class's first request makes it; a request for more bytes than the buffer
 * has moves it (counted in gapless_constant_stats), so a class whose addresses are to stay asks for the same size always, or
 * reserves its largest. Values of `shape_class` with the highest bit set belong to gapless_pad.
 * Errors: BUSY (all buffers of the class are leased), those of gapless_allocate, DRIVER. */
GAPLESS_NODISCARD GAPLESS_EXPORT gapless_status gapless_constant_acquire(gapless_constant_pool* pool, uint64_t shape_class,
                                                                         size_t bytes, gapless_stream stream,
                                                                         gapless_lease* out);
/* The lease belongs to `stream` from now on. Errors: NOT_FOUND (no such lease), DRIVER; nothing changes. */
GAPLESS_EXPORT gapless_status gapless_constant_pass(gapless_constant_pool* pool, uint64_t ticket, gapless_stream stream);
/* Ends the lease. Its stream must still exist; afterwards it may go. Errors: NOT_FOUND, DRIVER; nothing changes. */
GAPLESS_EXPORT gapless_status gapless_constant_release(gapless_constant_pool* pool, uint64_t ticket);
/* Makes all buffers of a class ahead, each of at least `bytes`. Buffers that are leased keep their size. */
GAPLESS_EXPORT gapless_status gapless_constant_reserve(gapless_constant_pool* pool, uint64_t shape_class, size_t bytes,
                                                       gapless_stream stream);
/* Gives back the buffers that nobody leases, after waiting for their work; captures go on. *released (bytes) may be NULL. A
 * request of the device that would fail otherwise does the same, before OOM hooks are asked. */
GAPLESS_EXPORT gapless_status gapless_constant_trim(gapless_constant_pool* pool, size_t* released);

typedef struct gapless_constant_stats {
  size_t struct_size;
  uint64_t classes, buffers, bytes; /* now; bytes as asked for */
  uint64_t leased;                  /* buffers, now */
  uint64_t acquired;                /* leases ever */
  uint64_t moved;                   /* buffers that got another address because a request was larger */
} gapless_constant_stats;
GAPLESS_EXPORT gapless_status gapless_constant_get_stats(gapless_constant_pool* pool, gapless_constant_stats* out);

typedef enum gapless_pad_to {
  GAPLESS_PAD_TO_LENGTH = 0,   /* exactly `value` */
  GAPLESS_PAD_TO_MULTIPLE = 1, /* the longest sequence, rounded up to a multiple of `value` */
  GAPLESS_PAD_TO_LONGEST = 2   /* the longest sequence; `value` is ignored */
} gapless_pad_to;

/* The first sequence that does not fit; index -1: all fit. */
typedef struct gapless_pad_error {
  int64_t index;
  int64_t length;
} gapless_pad_error;

/* What gapless_pad writes beside the tokens. */
enum {
  GAPLESS_PADDED_MASK = 1,      /* attention mask: 1 for a token, 0 for padding */
  GAPLESS_PADDED_POSITIONS = 2, /* 0, 1, 2 ... for tokens, 0 for padding */
  GAPLESS_PADDED_LABELS = 4,
  GAPLESS_PADDED_CU_SEQLENS = 8 /* where each sequence begins among all tokens, and the number of tokens */
};

typedef struct gapless_ragged_batch {
  size_t struct_size;
  const int64_t* tokens;  /* the sequences one after the other; in host or device memory */
  const int64_t* labels;  /* likewise; NULL: the tokens are the labels */
  const int64_t* lengths; /* of each sequence; in host memory */
  int64_t count;          /* sequences, that is rows */
  gapless_pad_to to;
  int32_t left;           /* non-zero: padding comes before the sequence */
  int64_t value;          /* the length, or what it is a multiple of */
  int64_t pad_id;
  int64_t ignore_index; /* the label of padding; PyTorch's default is -100 */
  uint32_t outputs;     /* GAPLESS_PADDED_... */
} gapless_ragged_batch;

typedef struct gapless_padded_batch {
  size_t struct_size;
  uint64_t ticket; /* of the lease that holds it: for gapless_constant_pass and gapless_constant_release */
  int64_t rows, length;
  /* Device memory, rows x length elements; NULL: not asked for. */
  int64_t *tokens, *mask, *positions, *labels;
  int32_t* cu_seqlens; /* rows + 1 elements */
} gapless_padded_batch;

/* Pads a batch into a buffer of the pool, by a kernel on `stream`: only the tokens themselves are copied to the device. Each row
 * count and length is a class of its own; GAPLESS_PAD_TO_LONGEST has one class, which moves when a batch needs more than any
 * before it. Arrays in pageable host memory may be reused when the call has returned, those in pinned or device memory when the
 * work on `stream` is done.
 * Errors: INVALID_ARGUMENT when a sequence is longer than the length, or its length negative (named in *error, which may be NULL,
 * and in the text; nothing is ever cut, and nothing was enqueued); UNSUPPORTED without libgapless_kernels.so; those of
 * gapless_constant_acquire. */
GAPLESS_NODISCARD GAPLESS_EXPORT gapless_status gapless_pad(gapless_constant_pool* pool, const gapless_ragged_batch* batch,
                                                            gapless_stream stream, gapless_padded_batch* out,
                                                            gapless_pad_error* error);
/* Makes the buffers that batches like `batch` will need, with rows up to `longest` (ignored for GAPLESS_PAD_TO_LENGTH). Of `batch`
 * only count, to, value and outputs are read, and whether labels is NULL. */
GAPLESS_EXPORT gapless_status gapless_pad_reserve(gapless_constant_pool* pool, const gapless_ragged_batch* batch,
                                                  int64_t longest, gapless_stream stream);

/* ------------------------------------------------------------------ guards */

/* The debug mode of the option `guard`: what a program writes behind its blocks, and to memory that it has freed.
 *
 * Behind each block lies a red zone of 512 to 1023 bytes, which begins at the first byte that was not asked for; freed memory is
 * filled with a pattern and kept back (option guard_quarantine) before it is used again. Both are looked at when the memory is let
 * go, and by gapless_check_guards. What is kept back counts as live, and statistics, events and snapshots show blocks with their
 * red zones. It is given back before a request is given up, by gapless_trim, when a pool is released, asked for its live
 * blocks, checkpointed or restored, and at gapless_close. Blocks that are allocated or freed on a stream that captures, or on the
 * per-thread default stream, are not guarded, nor are constant buffers, nor what a restored pool holds from then on until it is
 * allocated anew. */
typedef enum gapless_guard_kind {
  GAPLESS_GUARD_RED_ZONE = 0, /* written behind its end (or before the block behind it) */
  GAPLESS_GUARD_FREED = 1     /* written after its free, or before it by a stream that was not recorded on it */
} gapless_guard_kind;

typedef struct gapless_guard_life {
  void* address;
  size_t requested_bytes;
  gapless_stream stream;
  uint64_t allocated;      /* the how-manieth guarded allocation of the allocator it was, from 1 on; 0: there is none */
  uint64_t freed;          /* how many there had been when it was freed; 0: it is live */
  uint64_t step_allocated; /* steps marked on its device until then */
  uint64_t step_freed;
} gapless_guard_life;

enum { GAPLESS_GUARD_LIVES = 4 };

typedef struct gapless_guard_finding {
  size_t struct_size;
  int32_t device;
  gapless_guard_kind kind;
  gapless_guard_life block;
  void* first_broken; /* lowest address that does not hold what it should */
  size_t broken_bytes;
  uint8_t expected, found; /* there */
  uint32_t earlier_count;
  gapless_guard_life earlier[GAPLESS_GUARD_LIVES]; /* blocks that lay there before, the latest first */
  gapless_guard_life next;                         /* the live block behind the red zone */
} gapless_guard_finding;

/* Called once for each broken block and kind, on the thread that looked, with no lock held. */
typedef void (*gapless_guard_hook)(void* user, const gapless_guard_finding* finding);
/* NULL: findings go to standard error as text, at most 32 of them. Errors: UNSUPPORTED (opened without the option guard). */
GAPLESS_EXPORT gapless_status gapless_set_guard_hook(gapless_allocator* allocator, gapless_guard_hook hook, void* user);
/* Waits for the device (while a stream captures: only for the streams of what is looked at), then looks at the red zones of all
 * blocks of the device and at all freed memory that is kept back. Not at what lies on a stream that captures or has ended, or is
 * another thread's own default stream. *found: findings since the allocator was opened; may be NULL. Errors: UNSUPPORTED; where
 * something could not be looked at, DRIVER (a kernel has failed, for instance), OUT_OF_MEMORY, BUSY (another thread restores a
 * pool). */
GAPLESS_EXPORT gapless_status gapless_check_guards(gapless_allocator* allocator, int32_t device, uint64_t* found);

/* ------------------------------------------------------------------ events and history */

typedef enum gapless_event_kind {
  GAPLESS_EVENT_ALLOC = 0,
  GAPLESS_EVENT_FREE_REQUESTED = 1,
  GAPLESS_EVENT_FREE_COMPLETED = 2,
  GAPLESS_EVENT_SEGMENT_ALLOC = 3, /* a pool's segment source gave a segment */
  GAPLESS_EVENT_SEGMENT_FREE = 4,
  GAPLESS_EVENT_SEGMENT_MAP = 5, /* physical memory became usable at this range */
  GAPLESS_EVENT_SEGMENT_UNMAP = 6,
  GAPLESS_EVENT_OOM = 7 /* address: the driver's free bytes */
} gapless_event_kind;

typedef struct gapless_event {
  size_t struct_size;
  gapless_event_kind kind;
  int32_t device;
  uint64_t sequence; /* ascending per device; a gap: of a kind not asked for, or the host had no memory for it */
  uint64_t address;
  size_t bytes;
  gapless_stream stream;
  gapless_pool_id pool;
  uint64_t cookie;
  size_t requested_bytes; /* of a block, before rounding; else equal to bytes */
} gapless_event;

typedef struct gapless_listener {
  size_t struct_size;
  void* user;
  /* Bit k set: events of kind k are wanted. */
  uint32_t kinds;
  /* Called in the order of `sequence` for events of one thread, outside the fast lock. For GAPLESS_EVENT_ALLOC the return value
   * becomes the block's cookie when it is not 0; it is ignored otherwise. */
  uint64_t (*on_event)(void* user, const gapless_event* event);
  /* A cookie is no longer held by any block. */
  void (*release_cookie)(void* user, uint64_t cookie);
} gapless_listener;

/* One listener an allocator; NULL removes it. With none, an allocation pays one predicted branch. Returns after the last call of
 * the old listener has returned, so not with a lock held that such a call waits for; from inside a listener's call it returns at once. Cookies that are let go while nobody listens are dropped without a call. */
GAPLESS_EXPORT gapless_status gapless_set_listener(gapless_allocator* allocator, const gapless_listener* listener);

typedef enum gapless_block_state {
  GAPLESS_BLOCK_FREE = 0,
  GAPLESS_BLOCK_ALLOCATED = 1,
  GAPLESS_BLOCK_PENDING_FREE = 2
} gapless_block_state;

typedef struct gapless_segment_view {
  size_t struct_size;
  uint64_t address;
  size_t bytes;
  int32_t device;
  int32_t is_small;
  int32_t is_expandable;
  gapless_stream stream;
  gapless_pool_id pool;
} gapless_segment_view;

typedef struct gapless_block_view {
  size_t struct_size;
  uint64_t address;
  size_t bytes;
  size_t requested_bytes;
  gapless_block_state state;
  uint64_t cookie;
} gapless_block_view;

/* Walks a consistent copy of the mapped ranges, ascending by address, and the blocks that tile each. `device` -1: all.
 * `pool` NULL: all. A callback that returns non-zero ends the walk. */
typedef struct gapless_snapshot_visitor {
  size_t struct_size;
  void* user;
  int32_t (*on_segment)(void* user, const gapless_segment_view* segment);
  int32_t (*on_block)(void* user, const gapless_block_view* block);
} gapless_snapshot_visitor;
GAPLESS_EXPORT gapless_status gapless_walk_snapshot(gapless_allocator* allocator, int32_t device, const gapless_pool_id* pool,
                                                    const gapless_snapshot_visitor* visitor);

/* ------------------------------------------------------------------ steps and phases */

/* Optional marks of the training loop: they sharpen the OOM record and the forecast; nothing depends on them. Labels are copied
 * (at most 31 bytes are kept). `units` is the size of the step's batch in samples or tokens, 0: unknown. */
GAPLESS_EXPORT gapless_status gapless_mark_step(gapless_allocator* allocator, int32_t device, const char* label, uint64_t units);
GAPLESS_EXPORT gapless_status gapless_mark_phase(gapless_allocator* allocator, int32_t device, const char* label);

/* ------------------------------------------------------------------ out of memory */

typedef enum gapless_oom_verdict {
  GAPLESS_OOM_IN_USE = 0,        /* live bytes leave too little */
  GAPLESS_OOM_LIMIT = 1,         /* the limit set by gapless_set_limit or a memory fraction */
  GAPLESS_OOM_OTHER_PROCESS = 2, /* memory held outside this allocator, by other processes or by this one, leaves too little */
  GAPLESS_OOM_PINNED = 3,        /* free memory is pinned where it is */
  GAPLESS_OOM_CAPTURE = 4,       /* a capture forbids what would have helped */
  GAPLESS_OOM_INJECTED = 5
} gapless_oom_verdict;

enum { GAPLESS_LABEL_BYTES = 32, GAPLESS_OOM_RUNGS = 8 };

typedef struct gapless_suggestion {
  uint64_t units;         /* the largest batch expected to fit; 0: unknown */
  uint64_t proven_fits;   /* largest batch seen to fit; 0: none */
  uint64_t proven_fails;  /* smallest batch seen to fail; 0: none */
  double confidence;      /* 0 .. 1 */
  uint32_t evidence_steps; /* good steps behind it */
} gapless_suggestion;

typedef struct gapless_oom_record {
  size_t struct_size;
  uint64_t sequence; /* ascending per device */
  int32_t device;
  gapless_oom_verdict verdict;
  gapless_stream stream;
  gapless_pool_id pool;
  size_t requested_bytes;
  size_t rounded_bytes;
  size_t live_bytes;
  size_t reserved_bytes;
  size_t free_bytes;               /* reserved, under no live or pending block */
  size_t largest_obtainable_bytes; /* the largest request that would have succeeded */
  size_t pending_bytes;            /* freed, still in use by streams */
  size_t pinned_bytes;
  size_t limit_bytes;
  size_t driver_free_bytes;
  size_t driver_total_bytes;
  size_t other_process_bytes; /* used on the device outside this allocator */
  char step_label[GAPLESS_LABEL_BYTES];
  char phase_label[GAPLESS_LABEL_BYTES];
  uint64_t step;             /* steps marked so far */
  uint64_t allocation_index; /* index of the request in the step */
  uint64_t step_units;
  size_t step_peak_bytes;           /* live peak of this step so far */
  size_t last_good_step_peak_bytes; /* live peak of the last complete step */
  uint32_t attempt;                 /* 0 at the first call of the hook for this request */
  size_t freed_by_rung[GAPLESS_OOM_RUNGS]; /* physical bytes that each rung of the ladder made available */
  gapless_suggestion suggestion;
} gapless_oom_record;

typedef enum gapless_oom_answer {
  GAPLESS_OOM_GIVE_UP = 0,
  GAPLESS_OOM_TRY_AGAIN = 1 /* memory was freed; ignored, and taken as give up, when nothing became available */
} gapless_oom_answer;

/* Called on the thread whose request fails, with no lock held, never while its stream captures, never from inside itself (a
 * request made by the hook that cannot be met fails at once). */
typedef gapless_oom_answer (*gapless_oom_hook)(void* user, const gapless_oom_record* record);
/* Several may be set, or one with different `user`; they are asked in the order of setting until one answers TRY_AGAIN. Remove
 * returns when no thread is in a call of any hook any more, so that `user` may go away; from inside a hook it returns at once. Errors: NOT_FOUND (remove). */
GAPLESS_EXPORT gapless_status gapless_add_oom_hook(gapless_allocator* allocator, gapless_oom_hook hook, void* user);
GAPLESS_EXPORT gapless_status gapless_remove_oom_hook(gapless_allocator* allocator, gapless_oom_hook hook, void* user);

/* The last OOM of the device. Errors: NOT_FOUND when there was none. */
GAPLESS_EXPORT gapless_status gapless_last_oom(gapless_allocator* allocator, int32_t device, gapless_oom_record* out);

/* What the journal predicts for a step of `units`. Errors: NOT_FOUND (not enough evidence yet). */
typedef struct gapless_forecast {
  size_t struct_size;
  size_t peak_bytes;      /* expected live peak */
  size_t available_bytes; /* what the engine can make available for it */
  gapless_suggestion suggestion;
} gapless_forecast;
GAPLESS_EXPORT gapless_status gapless_forecast_step(gapless_allocator* allocator, int32_t device, uint64_t units,
                                                    gapless_forecast* out);

/* ------------------------------------------------------------------ devices, processes */

/* Makes memory of `device` accessible from `peer`, what is mapped now and later. */
GAPLESS_EXPORT gapless_status gapless_enable_peer(gapless_allocator* allocator, int32_t device, int32_t peer);

/* Makes a handle by which processes of the same user map the memory of the live block that `pointer` lies in: 72 bytes, a secret,
 * the same for each pointer into a block. At most `capacity` bytes are written to `handle`, *length says how many; *offset: from
 * where an import begins to `pointer`. The block's granules stay where they are while it lives. A thread of this process hands
 * them out, from the first export on. Any thread. Errors: INVALID_ARGUMENT (capacity), UNKNOWN_POINTER, UNSUPPORTED (memory of a
 * pool's segment source, a device without shareable handles, a forked child), INTERNAL (no socket, no thread). */
GAPLESS_EXPORT gapless_status gapless_ipc_export(gapless_allocator* allocator, void* pointer, void* handle, size_t capacity,
                                                 size_t* length, size_t* offset);
/* Maps what a handle stands for, for `device`, at *base; each call anew. The process that exported it must be alive, and the block
 * too; afterwards the memory lasts until it is closed here, whatever becomes of them. The order of work is the program's to see to.
 * Any thread. Errors: INVALID_ARGUMENT (not a handle, or its process is gone), NOT_FOUND (the block is dead), OUT_OF_MEMORY (no
 * addresses), UNSUPPORTED (a forked child), DRIVER. */
GAPLESS_EXPORT gapless_status gapless_ipc_import(gapless_allocator* allocator, int32_t device, const void* handle, size_t length,
                                                 void** base);
/* Ends an import, by its *base; `base` is then nobody's. Waits for the device and unmaps it; while a stream captures that is put
 * off to a later import, close or trim. Any thread. Errors: UNKNOWN_POINTER, DRIVER (it is tried again likewise). */
GAPLESS_EXPORT gapless_status gapless_ipc_close(gapless_allocator* allocator, void* base);

/* ------------------------------------------------------------------ options */

/* Options by name, values as text; see docs/options.md. Set fails with INVALID_ARGUMENT (value) or NOT_FOUND (name; the text of
 * gapless_last_error suggests the nearest). Get writes a NUL-terminated string of at most `capacity` bytes; "notes" gives what was
 * wrong or without effect in the settings of opening, or since then of "pytorch_alloc_conf", PyTorch's whole string, and
 * what a device in use has not got, a line each. "limit" is the option's value: what gapless_set_limit gave, gapless_get_limit
 * says. */
GAPLESS_EXPORT gapless_status gapless_set_option(gapless_allocator* allocator, const char* name, const char* value);
GAPLESS_EXPORT gapless_status gapless_get_option(gapless_allocator* allocator, const char* name, char* value, size_t capacity);

#ifdef __cplusplus
} /* extern "C" */
template <typename T>
inline T gapless_detail_zeroed() {
  T value{};
  value.struct_size = sizeof(T);
  return value;
}
#endif
#endif /* GAPLESS_GAPLESS_H */

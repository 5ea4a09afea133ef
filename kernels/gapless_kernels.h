/* SPDX-License-Identifier: Apache-2.0
 *
 * gapless_kernels.h: what libgapless_kernels.so does on the device. C11; no CUDA header needed.
 *
 * Every function only enqueues work on `stream` of the current device and never waits. Pointers called device pointers
 * must be accessible from that device and stay valid until the work is done; host arrays may be reused when the call
 * has returned. Sizes are in bytes, counts in elements. Any thread at any time.
 *
 * Results: GAPLESS_OK; INVALID_ARGUMENT (nothing was enqueued; gapless_kernels_last_error says what); DRIVER (the CUDA
 * runtime refused a launch: the text names its error).
 *
 * The runtime keeps one error a thread, for the program's cudaGetLastError. A failure here is not left there, and an
 * error of the program's that waits there is neither taken nor reported; where both meet, the failure stands there in
 * the place of the program's error: the runtime keeps the later one and takes none back.
 */
#ifndef GAPLESS_KERNELS_H
#define GAPLESS_KERNELS_H

#include "gapless/gapless.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The detail of the last failure on the calling thread, or "". */
GAPLESS_EXPORT const char* gapless_kernels_last_error(void);

/* ------------------------------------------------------------------ padding */

/* The row length for sequences of `lengths` (a host array of `count`), to *out. An empty batch and a batch of empty
 * sequences have length 0, or `value` for GAPLESS_PAD_TO_LENGTH. Nothing is enqueued. Errors: INVALID_ARGUMENT when a
 * sequence is longer than the length (named in *error, which may be NULL, and in the text), a length is negative, or
 * `value` is negative (for a multiple: below 1). */
GAPLESS_EXPORT gapless_status gapless_kernels_pad_length(const int64_t* lengths, int64_t count, gapless_pad_to to,
                                                         int64_t value, int64_t* out, gapless_pad_error* error);

/* A ragged batch and where its padded form goes. All pointers are device pointers; those marked (optional) may be NULL.
 */
typedef struct gapless_pad_batch {
  size_t struct_size;     /* GAPLESS_STRUCT sets it; fields past it are taken as zero, as in gapless.h */
  const int64_t* tokens;  /* the sequences one after the other */
  const int64_t* labels;  /* (optional) likewise; NULL: the tokens are the labels */
  const int64_t* lengths; /* of each sequence */
  int64_t count;          /* sequences, that is rows */
  int64_t length;         /* of a row */
  int64_t pad_id;
  int64_t ignore_index; /* label of padding; PyTorch's default is -100 */
  int32_t left;         /* non-zero: padding comes before the sequence */
  /* Outputs. Rows are contiguous, count x length elements. */
  int64_t* out_tokens;     /* (optional) */
  int64_t* out_mask;       /* (optional) attention mask: 1 for a token, 0 for padding */
  int64_t* out_positions;  /* (optional) 0, 1, 2 ... for tokens, 0 for padding */
  int64_t* out_labels;     /* (optional) */
  int32_t* out_cu_seqlens; /* (optional) count + 1 elements: where each sequence begins in `tokens` */
  int64_t* offsets;        /* scratch of count + 1 elements */
  gapless_pad_error*
      error; /* written: a sequence longer than `length`, or negative, or past 2^31 - 1 tokens in out_cu_seqlens */
} gapless_pad_batch;

/* Pads. When *error names a sequence the outputs hold nothing of use: rows are all padding. Nothing is ever cut. */
GAPLESS_EXPORT gapless_status gapless_kernels_pad(const gapless_pad_batch* batch, gapless_stream stream);

/* Copies `bytes` to device memory, from host or device memory. Pageable host memory may be reused when the call has
 * returned, pinned memory when the work is done. */
GAPLESS_EXPORT gapless_status gapless_kernels_copy(void* to, const void* from, size_t bytes, gapless_stream stream);

/* Makes `device` the calling thread's current one until gapless_kernels_leave_device(*entered), called on the same
 * thread. No other device's context is made by it. After a failure *entered is 0. */
GAPLESS_EXPORT gapless_status gapless_kernels_enter_device(int32_t device, int32_t* entered);
GAPLESS_EXPORT void gapless_kernels_leave_device(int32_t entered);

/* ------------------------------------------------------------------ guards */

/* Bytes that nobody may write: freed memory, red zones. The pattern is a function of seed and address, so that bytes
 * copied from another guarded place are broken too. */
typedef struct gapless_guard_range {
  uint64_t address; /* device address; any alignment */
  uint64_t bytes;
  uint64_t seed;
} gapless_guard_range;

GAPLESS_EXPORT gapless_status gapless_kernels_guard_fill(const gapless_guard_range* ranges, size_t count,
                                                         gapless_stream stream);

typedef struct gapless_guard_report {
  uint64_t first_broken; /* lowest broken address; UINT64_MAX: none */
  uint64_t broken_bytes;
} gapless_guard_report;

/* Compares with what gapless_kernels_guard_fill wrote. `report` is a device pointer. */
GAPLESS_EXPORT gapless_status gapless_kernels_guard_check(const gapless_guard_range* ranges, size_t count,
                                                          gapless_guard_report* report, gapless_stream stream);

/* The byte that belongs at `address`: for reports that show what was expected. */
GAPLESS_EXPORT uint8_t gapless_kernels_guard_byte(uint64_t address, uint64_t seed);

/* ------------------------------------------------------------------ checksums */

typedef struct gapless_checksum_range {
  uint64_t address; /* device address; any alignment */
  uint64_t bytes;
} gapless_checksum_range;

/* One checksum of 64 bits for each range, to `sums`, a device pointer to `count` elements. It depends on the bytes and
 * their offsets in the range, not on the range's address: equal bytes elsewhere have an equal sum. Not for adversaries.
 */
GAPLESS_EXPORT gapless_status gapless_kernels_checksum(const gapless_checksum_range* ranges, size_t count,
                                                       uint64_t* sums, gapless_stream stream);

/* ------------------------------------------------------------------ the simulated device */

/* Makes the kernels run as CPU bodies on the simulated libcuda.so.1. Called by every function above at its first use
 * when that library is loaded; explicit calls are harmless. Returns 1 when the simulation is there, else 0. */
GAPLESS_EXPORT int gapless_kernels_register_simulation(void);

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif /* GAPLESS_KERNELS_H */

/* SPDX-License-Identifier: Apache-2.0
 *
 * Out of memory as a signal, in C: steps are marked, the forecast is asked before a batch is begun, and a hook gives up
 * a cache before a request fails. Runs wherever libcuda.so.1 is found; without a GPU under `gapless-sim --size 1GiB --
 * ./my_c_trainer`. */
#include <gapless/gapless.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { kLayers = 12 };
static const size_t kSampleBytes = (size_t)4 << 20;

/* What training can do without. */
typedef struct cache {
  gapless_allocator* allocator;
  void* block;
} cache;

static gapless_oom_answer drop_cache(void* user, const gapless_oom_record* record) {
  cache* held = user;
  (void)record;
  if (held->block == NULL) return GAPLESS_OOM_GIVE_UP;
  gapless_deallocate(held->allocator, held->block);
  held->block = NULL;
  return GAPLESS_OOM_TRY_AGAIN;
}

/* Stands for forward and backward: activations live until the pass has ended. Returns what the failing request
 * returned. */
static gapless_status pass(gapless_allocator* allocator, uint64_t samples) {
  void* activations[kLayers] = {0};
  gapless_status status = GAPLESS_OK;
  for (int i = 0; i < kLayers && status == GAPLESS_OK; ++i)
    status = gapless_allocate(allocator, 0, NULL, samples * kSampleBytes, &activations[i]);
  for (int i = kLayers - 1; i >= 0; --i)
    if (activations[i] != NULL) gapless_deallocate(allocator, activations[i]);
  return status;
}

static void check(gapless_status status, const char* what) {
  if (status == GAPLESS_OK) return;
  fprintf(stderr, "%s: %s\n", what, gapless_last_error());
  exit(1);
}

int main(void) {
  gapless_allocator* allocator = NULL;
  gapless_open_args args = GAPLESS_STRUCT(gapless_open_args);
  check(gapless_open(&args, &allocator), "gapless_open");

  cache held = {allocator, NULL};
  check(gapless_allocate(allocator, 0, NULL, (size_t)64 << 20, &held.block), "the cache");
  check(gapless_add_oom_hook(allocator, drop_cache, &held), "gapless_add_oom_hook");

  /* The third batch is too large for a card of 1 GiB. */
  static const uint64_t batches[] = {4, 8, 64, 8};
  for (size_t i = 0; i < sizeof batches / sizeof *batches; ++i) {
    uint64_t left = batches[i], part = left;
    while (left > 0) {
      if (part > left) part = left;
      check(gapless_mark_step(allocator, 0, "train", part),
            "gapless_mark_step"); /* units: samples or tokens of the batch */
      gapless_forecast forecast = GAPLESS_STRUCT(gapless_forecast);
      if (gapless_forecast_step(allocator, 0, part, &forecast) == GAPLESS_OK &&
          forecast.peak_bytes > forecast.available_bytes && forecast.suggestion.units > 0 &&
          forecast.suggestion.units < part) {
        part = forecast.suggestion.units;
        continue;
      }
      if (pass(allocator, part) == GAPLESS_OK) {
        left -= part;
        printf("batch %zu: %llu samples done\n", i, (unsigned long long)part);
        continue;
      }
      gapless_oom_record record = GAPLESS_STRUCT(gapless_oom_record);
      check(gapless_last_oom(allocator, 0, &record), "gapless_last_oom");
      if (part == 1) check(GAPLESS_ERROR_OUT_OF_MEMORY, "one sample does not fit");
      part = record.suggestion.units > 0 && record.suggestion.units < part ? record.suggestion.units : part / 2;
    }
  }
  if (held.block != NULL) check(gapless_deallocate(allocator, held.block), "the cache");
  check(gapless_remove_oom_hook(allocator, drop_cache, &held), "gapless_remove_oom_hook");
  check(gapless_close(allocator), "gapless_close");
  return 0;
}

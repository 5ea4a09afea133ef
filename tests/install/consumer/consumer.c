/* SPDX-License-Identifier: Apache-2.0
 *
 * A C program that uses the installed library. With GAPLESS_EXPECT_DEVICE set there must be a device, else there may be
 * none. */
#include <gapless/gapless.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, gapless_last_error());
  return 1;
}

int main(void) {
  if (gapless_abi_version() != GAPLESS_ABI_VERSION) return fail("header and library differ");

  gapless_open_args args = GAPLESS_STRUCT(gapless_open_args);
  args.ignore_environment = 1;
  gapless_allocator* allocator = NULL;
  const gapless_status opened = gapless_open(&args, &allocator);
  if (opened == GAPLESS_ERROR_UNSUPPORTED && getenv("GAPLESS_EXPECT_DEVICE") == NULL) return 0;
  if (opened != GAPLESS_OK) return fail("gapless_open");

  void* block = NULL;
  if (gapless_allocate(allocator, 0, NULL, 3 << 20, &block) != GAPLESS_OK) return fail("gapless_allocate");
  if (block == NULL || (uintptr_t)block % 512 != 0) return fail("the address");
  gapless_stats stats = GAPLESS_STRUCT(gapless_stats);
  if (gapless_get_stats(allocator, 0, &stats) != GAPLESS_OK) return fail("gapless_get_stats");
  if (stats.allocated_bytes[GAPLESS_ALL].current != 3 << 20) return fail("allocated_bytes");
  if (gapless_close(allocator) != GAPLESS_ERROR_BUSY) return fail("gapless_close with a live block");
  if (gapless_deallocate(allocator, block) != GAPLESS_OK) return fail("gapless_deallocate");
  if (gapless_close(allocator) != GAPLESS_OK) return fail("gapless_close");
  return 0;
}

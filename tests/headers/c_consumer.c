/* SPDX-License-Identifier: Apache-2.0
 *
 * gapless.h from C11: versions, versioned structs and enums. */
#include <gapless/gapless.h>
#include <stdio.h>
#include <string.h>

_Static_assert(GAPLESS_OK == 0, "success is zero");
_Static_assert(offsetof(gapless_stats, struct_size) == 0, "struct_size comes first");
_Static_assert(offsetof(gapless_oom_record, struct_size) == 0, "struct_size comes first");
_Static_assert(offsetof(gapless_open_args, struct_size) == 0, "struct_size comes first");
_Static_assert(offsetof(gapless_listener, struct_size) == 0, "struct_size comes first");
_Static_assert(sizeof(gapless_stat) == 32, "four counters, no padding: dashboards copy it whole");

static int fail(const char* what) {
  fprintf(stderr, "%s\n", what);
  return 1;
}

int main(void) {
  char version[32];
  snprintf(version, sizeof(version), "%d.%d.%d", GAPLESS_VERSION_MAJOR, GAPLESS_VERSION_MINOR, GAPLESS_VERSION_PATCH);
  if (strcmp(gapless_version(), version) != 0) return fail("the library and the header differ in version");
  if (gapless_abi_version() != GAPLESS_ABI_VERSION) return fail("the library and the header differ in ABI version");

  const gapless_stats stats = GAPLESS_STRUCT(gapless_stats);
  if (stats.struct_size != sizeof(stats) || stats.hits != 0) return fail("GAPLESS_STRUCT does not zero the struct");
  return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * Prints the layout of the structs that python_shim passes, as the C compiler sees gapless.h: one "struct.member
 * offset" a line. */
#include <stddef.h>
#include <stdio.h>

#include "gapless/gapless.h"

#define MEMBER(type, member) printf(#type "." #member " %zu\n", offsetof(type, member))
#define SIZE(type) printf(#type " %zu\n", sizeof(type))

int main(void) {
  SIZE(gapless_stat);
  MEMBER(gapless_stat, current);
  MEMBER(gapless_stat, peak);
  MEMBER(gapless_stat, allocated);
  MEMBER(gapless_stat, freed);
  SIZE(gapless_stats);
  MEMBER(gapless_stats, struct_size);
  MEMBER(gapless_stats, allocation);
  MEMBER(gapless_stats, segment);
  MEMBER(gapless_stats, active);
  MEMBER(gapless_stats, inactive_split);
  MEMBER(gapless_stats, allocated_bytes);
  MEMBER(gapless_stats, reserved_bytes);
  MEMBER(gapless_stats, active_bytes);
  MEMBER(gapless_stats, inactive_split_bytes);
  MEMBER(gapless_stats, requested_bytes);
  MEMBER(gapless_stats, oversize_allocations);
  MEMBER(gapless_stats, oversize_segments);
  MEMBER(gapless_stats, num_alloc_retries);
  MEMBER(gapless_stats, num_ooms);
  MEMBER(gapless_stats, num_sync_all_streams);
  MEMBER(gapless_stats, num_device_alloc);
  MEMBER(gapless_stats, num_device_free);
  MEMBER(gapless_stats, max_split_size);
  MEMBER(gapless_stats, hits);
  MEMBER(gapless_stats, misses);
  MEMBER(gapless_stats, reactivations);
  MEMBER(gapless_stats, moves);
  MEMBER(gapless_stats, lends);
  MEMBER(gapless_stats, wait_edges);
  MEMBER(gapless_stats, stalls);
  MEMBER(gapless_stats, pinned_bytes);
  MEMBER(gapless_stats, dormant_mappings);
  MEMBER(gapless_stats, idle_bytes);
  MEMBER(gapless_stats, reserved_address_bytes);
  return 0;
}

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
  MEMBER(gapless_stats, large_repeated);
  MEMBER(gapless_stats, large_kept);
  SIZE(gapless_suggestion);
  MEMBER(gapless_suggestion, units);
  MEMBER(gapless_suggestion, proven_fits);
  MEMBER(gapless_suggestion, proven_fails);
  MEMBER(gapless_suggestion, confidence);
  MEMBER(gapless_suggestion, evidence_steps);
  SIZE(gapless_oom_record);
  MEMBER(gapless_oom_record, struct_size);
  MEMBER(gapless_oom_record, sequence);
  MEMBER(gapless_oom_record, device);
  MEMBER(gapless_oom_record, verdict);
  MEMBER(gapless_oom_record, stream);
  MEMBER(gapless_oom_record, pool);
  MEMBER(gapless_oom_record, requested_bytes);
  MEMBER(gapless_oom_record, rounded_bytes);
  MEMBER(gapless_oom_record, live_bytes);
  MEMBER(gapless_oom_record, reserved_bytes);
  MEMBER(gapless_oom_record, free_bytes);
  MEMBER(gapless_oom_record, largest_obtainable_bytes);
  MEMBER(gapless_oom_record, pending_bytes);
  MEMBER(gapless_oom_record, pinned_bytes);
  MEMBER(gapless_oom_record, limit_bytes);
  MEMBER(gapless_oom_record, driver_free_bytes);
  MEMBER(gapless_oom_record, driver_total_bytes);
  MEMBER(gapless_oom_record, other_process_bytes);
  MEMBER(gapless_oom_record, step_label);
  MEMBER(gapless_oom_record, phase_label);
  MEMBER(gapless_oom_record, step);
  MEMBER(gapless_oom_record, allocation_index);
  MEMBER(gapless_oom_record, step_units);
  MEMBER(gapless_oom_record, step_peak_bytes);
  MEMBER(gapless_oom_record, last_good_step_peak_bytes);
  MEMBER(gapless_oom_record, attempt);
  MEMBER(gapless_oom_record, freed_by_rung);
  MEMBER(gapless_oom_record, suggestion);
  SIZE(gapless_forecast);
  MEMBER(gapless_forecast, struct_size);
  MEMBER(gapless_forecast, peak_bytes);
  MEMBER(gapless_forecast, available_bytes);
  MEMBER(gapless_forecast, suggestion);
  SIZE(gapless_constant_pool_args);
  MEMBER(gapless_constant_pool_args, struct_size);
  MEMBER(gapless_constant_pool_args, device);
  MEMBER(gapless_constant_pool_args, depth);
  MEMBER(gapless_constant_pool_args, most);
  SIZE(gapless_constant_stats);
  MEMBER(gapless_constant_stats, struct_size);
  MEMBER(gapless_constant_stats, classes);
  MEMBER(gapless_constant_stats, buffers);
  MEMBER(gapless_constant_stats, bytes);
  MEMBER(gapless_constant_stats, leased);
  MEMBER(gapless_constant_stats, acquired);
  MEMBER(gapless_constant_stats, moved);
  SIZE(gapless_pad_error);
  MEMBER(gapless_pad_error, index);
  MEMBER(gapless_pad_error, length);
  SIZE(gapless_ragged_batch);
  MEMBER(gapless_ragged_batch, struct_size);
  MEMBER(gapless_ragged_batch, tokens);
  MEMBER(gapless_ragged_batch, labels);
  MEMBER(gapless_ragged_batch, lengths);
  MEMBER(gapless_ragged_batch, count);
  MEMBER(gapless_ragged_batch, to);
  MEMBER(gapless_ragged_batch, left);
  MEMBER(gapless_ragged_batch, value);
  MEMBER(gapless_ragged_batch, pad_id);
  MEMBER(gapless_ragged_batch, ignore_index);
  MEMBER(gapless_ragged_batch, outputs);
  SIZE(gapless_padded_batch);
  MEMBER(gapless_padded_batch, struct_size);
  MEMBER(gapless_padded_batch, ticket);
  MEMBER(gapless_padded_batch, rows);
  MEMBER(gapless_padded_batch, length);
  MEMBER(gapless_padded_batch, tokens);
  MEMBER(gapless_padded_batch, mask);
  MEMBER(gapless_padded_batch, positions);
  MEMBER(gapless_padded_batch, labels);
  MEMBER(gapless_padded_batch, cu_seqlens);
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// gapless_kernels.h: arguments checked, launches made, failures put into words.
#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>

#include "gapless_kernels.h"
#include "launches.hpp"
#include "logic/guard.hpp"
#include "logic/pad.hpp"

namespace {

namespace k = gapless::kernels;

thread_local char last_error[192] = "";

__attribute__((format(printf, 1, 2))) gapless_status refuse(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(last_error, sizeof last_error, format, arguments);
  va_end(arguments);
  return GAPLESS_ERROR_INVALID_ARGUMENT;
}

gapless_status launched(const char* what, int error) {
  if (error == 0) {
    last_error[0] = '\0';
    return GAPLESS_OK;
  }
  std::snprintf(last_error, sizeof last_error, "%s: %s (%d)", what, k::launch_error_name(error), error);
  return GAPLESS_ERROR_DRIVER;
}

bool wraps(std::uint64_t address, std::uint64_t bytes) {
  return bytes > std::numeric_limits<std::uint64_t>::max() - address;
}

// Sends `count` ranges, as many at a time as a launch carries.
template <typename Range, typename Launch>
int in_launches(const Range* ranges, std::size_t count, Launch launch) {
  for (std::size_t done = 0; done < count; done += k::kRangesPerLaunch) {
    const int some = static_cast<int>(std::min<std::size_t>(count - done, k::kRangesPerLaunch));
    if (const int error = launch(ranges + done, some, done)) return error;
  }
  return 0;
}

template <typename Range>
gapless_status check_ranges(const Range* ranges, std::size_t count) {
  if (ranges == nullptr && count != 0) return refuse("ranges is NULL");
  for (std::size_t i = 0; i < count; ++i) {
    if (wraps(ranges[i].address, ranges[i].bytes)) return refuse("range %zu runs past the end of the address space", i);
  }
  return GAPLESS_OK;
}

}  // namespace

const char* gapless_kernels_last_error(void) {
  return last_error;
}

gapless_status gapless_kernels_pad_length(const int64_t* lengths, int64_t count, gapless_pad_to to, int64_t value,
                                          int64_t* out, gapless_pad_error* error) {
  if (out == nullptr || count < 0 || (lengths == nullptr && count > 0)) return refuse("lengths, count or out");
  if (to != GAPLESS_PAD_TO_LENGTH && to != GAPLESS_PAD_TO_MULTIPLE && to != GAPLESS_PAD_TO_LONGEST)
    return refuse("to: %d", to);
  if (to == GAPLESS_PAD_TO_LENGTH && value < 0) return refuse("the length is %lld", static_cast<long long>(value));
  if (to == GAPLESS_PAD_TO_MULTIPLE && value < 1) return refuse("the multiple is %lld", static_cast<long long>(value));

  std::int64_t longest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (lengths[i] < 0 || (to == GAPLESS_PAD_TO_LENGTH && lengths[i] > value)) {
      if (error != nullptr) *error = {i, lengths[i]};
      return refuse("sequence %lld has %lld tokens, rows have %lld", static_cast<long long>(i),
                    static_cast<long long>(lengths[i]), static_cast<long long>(value));
    }
    longest = std::max(longest, lengths[i]);
  }
  std::int64_t length = to == GAPLESS_PAD_TO_LENGTH ? value : longest;
  if (to == GAPLESS_PAD_TO_MULTIPLE && longest % value != 0) {
    const std::int64_t missing = value - longest % value;
    if (longest > std::numeric_limits<std::int64_t>::max() - missing) return refuse("the multiple is past 63 bits");
    length = longest + missing;
  }
  if (error != nullptr) *error = {-1, 0};
  *out = length;
  last_error[0] = '\0';
  return GAPLESS_OK;
}

gapless_status gapless_kernels_pad(const gapless_pad_batch* given, gapless_stream stream) {
  if (given == nullptr || given->struct_size < sizeof given->struct_size)
    return refuse("batch is NULL or its struct_size is not set");
  // A caller built with another version knows fewer fields, or more: what it does not name is zero.
  gapless_pad_batch batch{};
  std::memcpy(&batch, given, std::min(given->struct_size, sizeof batch));
  if (batch.count < 0 || batch.length < 0) return refuse("count or length is negative");
  if (batch.length != 0 && batch.count > std::numeric_limits<std::int64_t>::max() / 8 / batch.length) {
    return refuse("count x length is past the address space");
  }
  if (batch.offsets == nullptr || batch.error == nullptr) return refuse("offsets or error is NULL");
  if (batch.count != 0 && batch.lengths == nullptr) return refuse("lengths is NULL");
  // Without tokens, every length must be 0; the device cannot tell before it reads them.
  if (batch.count != 0 && batch.tokens == nullptr &&
      (batch.out_tokens != nullptr || (batch.out_labels != nullptr && batch.labels == nullptr))) {
    return refuse("tokens is NULL");
  }
  gapless_kernels_register_simulation();
  return launched("gapless_kernels_pad", k::launch_pad(batch, stream));
}

gapless_status gapless_kernels_copy(void* to, const void* from, size_t bytes, gapless_stream stream) {
  if (bytes != 0 && (to == nullptr || from == nullptr)) return refuse("to or from is NULL");
  return launched("cudaMemcpyAsync", bytes == 0 ? 0 : k::copy(to, from, bytes, stream));
}

gapless_status gapless_kernels_enter_device(int32_t device, int32_t* entered) {
  if (entered == nullptr) return refuse("entered is NULL");
  bool pushed = false;
  const int error = k::enter_device(device, pushed);
  *entered = pushed ? 1 : 0;
  return launched("cuCtxPushCurrent", error);
}

void gapless_kernels_leave_device(int32_t entered) {
  if (entered != 0) k::leave_device();
}

gapless_status gapless_kernels_guard_fill(const gapless_guard_range* ranges, size_t count, gapless_stream stream) {
  if (const gapless_status status = check_ranges(ranges, count)) return status;
  gapless_kernels_register_simulation();
  return launched("gapless_kernels_guard_fill",
                  in_launches(ranges, count, [&](const auto* some, int size, std::size_t) {
                    k::GuardBatch batch{};
                    std::copy_n(some, size, batch.ranges);
                    return k::launch_guard_fill(batch, size, stream);
                  }));
}

gapless_status gapless_kernels_guard_check(const gapless_guard_range* ranges, size_t count,
                                           gapless_guard_report* report, gapless_stream stream) {
  if (report == nullptr) return refuse("report is NULL");
  if (const gapless_status status = check_ranges(ranges, count)) return status;
  gapless_kernels_register_simulation();
  if (const int error = k::clear_report(report, stream)) return launched("gapless_kernels_guard_check", error);
  return launched("gapless_kernels_guard_check",
                  in_launches(ranges, count, [&](const auto* some, int size, std::size_t) {
                    k::GuardBatch batch{};
                    std::copy_n(some, size, batch.ranges);
                    batch.report = report;
                    return k::launch_guard_check(batch, size, stream);
                  }));
}

uint8_t gapless_kernels_guard_byte(uint64_t address, uint64_t seed) {
  return k::guard_byte(address, seed);
}

gapless_status gapless_kernels_checksum(const gapless_checksum_range* ranges, size_t count, uint64_t* sums,
                                        gapless_stream stream) {
  if (sums == nullptr && count != 0) return refuse("sums is NULL");
  if (const gapless_status status = check_ranges(ranges, count)) return status;
  gapless_kernels_register_simulation();
  if (count == 0) return launched("gapless_kernels_checksum", 0);
  if (const int error = k::clear_sums(sums, count, stream)) return launched("gapless_kernels_checksum", error);
  return launched("gapless_kernels_checksum",
                  in_launches(ranges, count, [&](const auto* some, int size, std::size_t done) {
                    k::ChecksumBatch batch{};
                    std::copy_n(some, size, batch.ranges);
                    batch.sums = sums + done;
                    return k::launch_checksum(batch, size, stream);
                  }));
}

// SPDX-License-Identifier: Apache-2.0
// The kernels' bodies on the simulated device: the same logic on the memory behind the device's addresses.
//
// gapless_sim.h is compiled against, not linked: its functions are in the simulated libcuda.so.1, if that is the one
// loaded.
#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "cpu/run.hpp"
#include "gapless_kernels.h"
#include "logic/batches.hpp"
#include "logic/names.hpp"
#include "simcuda/gapless_sim.h"

namespace {

namespace k = gapless::kernels;

decltype(&gapless_sim_translate) translate_memory = nullptr;

// A device pointer to `count` elements, where the host can reach them. Sets `ok` to false when the device keeps no data
// there; nothing to reach is fine.
template <typename T>
T* on_host(T* pointer, std::int64_t count, bool& ok) {
  if (pointer == nullptr || count <= 0) return pointer;
  void* const host =
      translate_memory(reinterpret_cast<std::uintptr_t>(pointer), static_cast<std::size_t>(count) * sizeof(T));
  ok = ok && host != nullptr;
  return static_cast<T*>(host);
}

template <typename T>
const T& parameter(const gapless_sim_launch* launch) {
  return *static_cast<const T*>(launch->parameters[0]);
}

// What both padding kernels use.
bool translate_scan(gapless_pad_batch& batch) {
  bool ok = true;
  batch.lengths = on_host(batch.lengths, batch.count, ok);
  batch.offsets = on_host(batch.offsets, batch.count + 1, ok);
  batch.out_cu_seqlens = on_host(batch.out_cu_seqlens, batch.count + 1, ok);
  batch.error = on_host(batch.error, 1, ok);
  return ok;
}

void pad_scan(const gapless_sim_launch* launch) {
  gapless_pad_batch batch = parameter<gapless_pad_batch>(launch);
  if (translate_scan(batch)) k::cpu::run_pad_scan(batch);
}

void pad_rows(const gapless_sim_launch* launch) {
  gapless_pad_batch batch = parameter<gapless_pad_batch>(launch);
  if (!translate_scan(batch)) return;
  bool ok = true;
  const std::int64_t tokens = batch.offsets[batch.count];
  const std::int64_t cells = batch.count * batch.length;
  batch.tokens = on_host(batch.tokens, tokens, ok);
  batch.labels = on_host(batch.labels, tokens, ok);
  batch.out_tokens = on_host(batch.out_tokens, cells, ok);
  batch.out_mask = on_host(batch.out_mask, cells, ok);
  batch.out_positions = on_host(batch.out_positions, cells, ok);
  batch.out_labels = on_host(batch.out_labels, cells, ok);
  if (ok) k::cpu::run_pad_rows(batch);
}

void guard_fill(const gapless_sim_launch* launch) {
  const auto& batch = parameter<k::GuardBatch>(launch);
  for (unsigned i = 0; i < launch->grid[1]; ++i) {
    const gapless_guard_range& range = batch.ranges[i];
    void* const memory = translate_memory(range.address, range.bytes);
    if (memory != nullptr) k::cpu::run_guard_fill(range, static_cast<unsigned char*>(memory));
  }
}

void guard_check(const gapless_sim_launch* launch) {
  const auto& batch = parameter<k::GuardBatch>(launch);
  bool ok = true;
  gapless_guard_report* const report = on_host(batch.report, 1, ok);
  if (!ok) return;
  for (unsigned i = 0; i < launch->grid[1]; ++i) {
    const gapless_guard_range& range = batch.ranges[i];
    const void* const memory = translate_memory(range.address, range.bytes);
    if (memory != nullptr) k::cpu::run_guard_check(range, static_cast<const unsigned char*>(memory), *report);
  }
}

void checksum(const gapless_sim_launch* launch) {
  const auto& batch = parameter<k::ChecksumBatch>(launch);
  bool ok = true;
  std::uint64_t* const sums = on_host(batch.sums, launch->grid[1], ok);
  if (!ok) return;
  for (unsigned i = 0; i < launch->grid[1]; ++i) {
    const gapless_checksum_range& range = batch.ranges[i];
    const void* const memory = translate_memory(range.address, range.bytes);
    if (memory != nullptr) sums[i] += k::cpu::run_checksum(static_cast<const unsigned char*>(memory), range.bytes);
  }
}

// What each kernel touches, as far as its arguments say. How many tokens there are is in device memory: they stay
// unchecked.
template <typename T>
void touches(gapless_sim_add_range add, void* ranges, T* pointer, std::int64_t count, bool write) {
  if (pointer == nullptr || count <= 0) return;
  add(ranges, reinterpret_cast<std::uintptr_t>(pointer), static_cast<std::size_t>(count) * sizeof(T), write ? 1 : 0);
}

void pad_scan_ranges(const gapless_sim_launch* launch, gapless_sim_add_range add, void* ranges) {
  const auto& batch = parameter<gapless_pad_batch>(launch);
  touches(add, ranges, batch.lengths, batch.count, false);
  touches(add, ranges, batch.offsets, batch.count + 1, true);
  touches(add, ranges, batch.out_cu_seqlens, batch.count + 1, true);
  touches(add, ranges, batch.error, 1, true);
}

void pad_rows_ranges(const gapless_sim_launch* launch, gapless_sim_add_range add, void* ranges) {
  const auto& batch = parameter<gapless_pad_batch>(launch);
  const std::int64_t cells = batch.count * batch.length;
  touches(add, ranges, batch.lengths, batch.count, false);
  touches(add, ranges, batch.offsets, batch.count + 1, false);
  touches(add, ranges, batch.error, 1, false);
  for (auto* const out : {batch.out_tokens, batch.out_mask, batch.out_positions, batch.out_labels})
    touches(add, ranges, out, cells, true);
}

template <bool write>
void guard_ranges(const gapless_sim_launch* launch, gapless_sim_add_range add, void* ranges) {
  const auto& batch = parameter<k::GuardBatch>(launch);
  for (unsigned i = 0; i < launch->grid[1]; ++i)
    add(ranges, batch.ranges[i].address, batch.ranges[i].bytes, write ? 1 : 0);
  if (!write) touches(add, ranges, batch.report, 1, true);
}

void checksum_ranges(const gapless_sim_launch* launch, gapless_sim_add_range add, void* ranges) {
  const auto& batch = parameter<k::ChecksumBatch>(launch);
  for (unsigned i = 0; i < launch->grid[1]; ++i) add(ranges, batch.ranges[i].address, batch.ranges[i].bytes, 0);
  touches(add, ranges, batch.sums, static_cast<std::int64_t>(launch->grid[1]), true);
}

struct Registration {
  decltype(&gapless_sim_register_kernel) add_body = nullptr;
  decltype(&gapless_sim_register_ranges) add_ranges = nullptr;

  // Each kernel takes one argument.
  template <typename Argument>
  bool add(const char* name, gapless_sim_kernel_body body, gapless_sim_kernel_ranges ranges) const {
    const std::size_t bytes = sizeof(Argument);
    return add_body(name, body, nullptr, &bytes, 1) == 0 && add_ranges(name, ranges, nullptr) == 0;
  }
};

bool register_bodies() {
  void* const driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  if (driver == nullptr) return false;
  translate_memory = reinterpret_cast<decltype(&gapless_sim_translate)>(dlsym(driver, "gapless_sim_translate"));
  const Registration all{
      reinterpret_cast<decltype(&gapless_sim_register_kernel)>(dlsym(driver, "gapless_sim_register_kernel")),
      reinterpret_cast<decltype(&gapless_sim_register_ranges)>(dlsym(driver, "gapless_sim_register_ranges"))};
  if (translate_memory == nullptr || all.add_body == nullptr || all.add_ranges == nullptr) return false;
  return all.add<gapless_pad_batch>(k::kPadScan, &pad_scan, &pad_scan_ranges) &&
         all.add<gapless_pad_batch>(k::kPadRows, &pad_rows, &pad_rows_ranges) &&
         all.add<k::GuardBatch>(k::kGuardFill, &guard_fill, &guard_ranges<true>) &&
         all.add<k::GuardBatch>(k::kGuardCheck, &guard_check, &guard_ranges<false>) &&
         all.add<k::ChecksumBatch>(k::kChecksum, &checksum, &checksum_ranges);
}

}  // namespace

int gapless_kernels_register_simulation(void) {
  static const bool registered = register_bodies();
  return registered ? 1 : 0;
}

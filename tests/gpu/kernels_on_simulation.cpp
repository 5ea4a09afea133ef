// SPDX-License-Identifier: Apache-2.0
#include "gpu/kernels_on_simulation.hpp"

#include <cstdint>
#include <cstring>

#include "simcuda/gapless_sim.h"

namespace gapless::gpu {
namespace {

decltype(&gapless_sim_translate) translate = nullptr;

template <typename T>
T argument(const gapless_sim_launch* launch, int index) {
  T value;
  std::memcpy(&value, launch->parameters[index], sizeof value);
  return value;
}

template <typename T>
T* memory(const gapless_sim_launch* launch, int index, std::size_t bytes) {
  return static_cast<T*>(translate(argument<CUdeviceptr>(launch, index), bytes));
}

std::size_t word_bytes(const gapless_sim_launch* launch, int index) {
  return static_cast<std::size_t>(argument<unsigned long long>(launch, index)) * sizeof(std::uint32_t);
}

void fill(const gapless_sim_launch* launch) {
  const std::size_t bytes = word_bytes(launch, 1);
  auto* const words = memory<std::uint32_t>(launch, 0, bytes);
  const auto value = argument<std::uint32_t>(launch, 2);
  for (std::size_t i = 0; words != nullptr && i < bytes / sizeof value; ++i) words[i] = value;
}

void check(const gapless_sim_launch* launch) {
  const std::size_t bytes = word_bytes(launch, 1);
  const auto* const words = memory<const std::uint32_t>(launch, 0, bytes);
  auto* const wrong = memory<unsigned long long>(launch, 3, sizeof(unsigned long long));
  const auto value = argument<std::uint32_t>(launch, 2);
  for (std::size_t i = 0; words != nullptr && wrong != nullptr && i < bytes / sizeof value; ++i)
    *wrong += words[i] != value ? 1 : 0;
}

void copy(const gapless_sim_launch* launch) {
  const auto bytes = static_cast<std::size_t>(argument<unsigned long long>(launch, 2)) * 16;
  void* const to = memory<void>(launch, 0, bytes);
  const void* const from = memory<const void>(launch, 1, bytes);
  if (to != nullptr && from != nullptr) std::memmove(to, from, bytes);
}

void fill_ranges(const gapless_sim_launch* launch, gapless_sim_add_range add, void* ranges) {
  add(ranges, argument<CUdeviceptr>(launch, 0), word_bytes(launch, 1), 1);
}

void check_ranges(const gapless_sim_launch* launch, gapless_sim_add_range add, void* ranges) {
  add(ranges, argument<CUdeviceptr>(launch, 0), word_bytes(launch, 1), 0);
  add(ranges, argument<CUdeviceptr>(launch, 3), sizeof(unsigned long long), 1);
}

void gather_ranges(const gapless_sim_launch* launch, gapless_sim_add_range add, void* ranges) {
  add(ranges, argument<CUdeviceptr>(launch, 0), word_bytes(launch, 1), 0);
}

void copy_ranges(const gapless_sim_launch* launch, gapless_sim_add_range add, void* ranges) {
  const auto bytes = static_cast<std::size_t>(argument<unsigned long long>(launch, 2)) * 16;
  add(ranges, argument<CUdeviceptr>(launch, 0), bytes, 1);
  add(ranges, argument<CUdeviceptr>(launch, 1), bytes, 0);
}

}  // namespace

void register_on_simulation(const Cuda& cuda) {
  translate = reinterpret_cast<decltype(translate)>(cuda.find("gapless_sim_translate"));
  const auto body = reinterpret_cast<decltype(&gapless_sim_register_kernel)>(cuda.find("gapless_sim_register_kernel"));
  const auto ranges =
      reinterpret_cast<decltype(&gapless_sim_register_ranges)>(cuda.find("gapless_sim_register_ranges"));
  if (translate == nullptr || body == nullptr || ranges == nullptr) return;
  constexpr std::size_t kFill[] = {8, 8, 4};
  constexpr std::size_t kCheck[] = {8, 8, 4, 8};
  constexpr std::size_t kCopy[] = {8, 8, 8};
  (void)body("gapless_gpu_fill", &fill, nullptr, kFill, 3);
  (void)body("gapless_gpu_check", &check, nullptr, kCheck, 4);
  (void)body("gapless_gpu_copy", &copy, nullptr, kCopy, 3);
  (void)ranges("gapless_gpu_fill", &fill_ranges, nullptr);
  (void)ranges("gapless_gpu_check", &check_ranges, nullptr);
  (void)ranges("gapless_gpu_gather", &gather_ranges, nullptr);
  (void)ranges("gapless_gpu_copy", &copy_ranges, nullptr);
}

}  // namespace gapless::gpu

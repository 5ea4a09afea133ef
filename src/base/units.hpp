// SPDX-License-Identifier: Apache-2.0
// Sizes and places. Bytes are plain std::uint64_t / std::size_t; what could be confused with them has a type of its
// own.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

namespace gapless {

inline constexpr std::uint64_t kKiB = std::uint64_t{1} << 10;
inline constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

// Blocks are measured in units of 512 bytes, PyTorch's smallest block: 32 bits then span 2 TiB, more than a heap needs.
inline constexpr unsigned kUnitShift = 9;
inline constexpr std::uint64_t kUnitBytes = std::uint64_t{1} << kUnitShift;

// A number that does not mix with numbers of another meaning.
template <typename Tag>
class Quantity {
 public:
  using Rep = std::uint32_t;
  constexpr Quantity() = default;
  constexpr explicit Quantity(Rep count) : count_(count) {}
  constexpr Rep count() const { return count_; }
  constexpr std::uint64_t bytes() const requires requires { Tag::kBytes; }
  { return std::uint64_t{count_} * Tag::kBytes; }
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return Quantity(a.count_ + b.count_); }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return Quantity(a.count_ - b.count_); }
  constexpr Quantity& operator+=(Quantity b) { return count_ += b.count_, *this; }
  constexpr Quantity& operator-=(Quantity b) { return count_ -= b.count_, *this; }
  friend constexpr auto operator<=>(Quantity, Quantity) = default;

 private:
  Rep count_ = 0;
};

struct UnitTag {
  static constexpr std::uint64_t kBytes = kUnitBytes;
};
// Sizes and offsets in a heap.
using Units = Quantity<UnitTag>;

constexpr Units units_of(std::uint64_t bytes) {
  return Units(static_cast<std::uint32_t>((bytes + kUnitBytes - 1) >> kUnitShift));
}

template <typename T>
constexpr T round_up(T value, T step) {
  return (value + step - 1) / step * step;
}

}  // namespace gapless

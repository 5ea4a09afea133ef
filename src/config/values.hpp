// SPDX-License-Identifier: Apache-2.0
// The types of option values, each with its text form. parse() never throws and leaves `out` alone on failure; what
// format() writes, parse() reads back to the same value.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace gapless::config {

using Size = std::size_t;  // bytes

inline constexpr Size kKiB = Size{1} << 10;
inline constexpr Size kMiB = Size{1} << 20;
inline constexpr Size kGiB = Size{1} << 30;
inline constexpr Size kUnlimited = std::numeric_limits<Size>::max();

enum class Toggle { off, automatic, on };

// PyTorch's roundup_power2_divisions: the divisions of a power of two to round up to, by the size's interval. 0 and 1:
// none. Interval 0 is everything below 2 MiB, k is [2^k, 2^(k+1)) MiB, 15 is 32 GiB and above.
struct Divisions {
  static constexpr std::size_t kIntervals = 16;
  std::array<Size, kIntervals> by_interval{};

  static constexpr std::size_t interval_of(Size bytes) {
    const auto mebibytes = bytes >> 20;
    if (mebibytes == 0) return 0;
    const auto log = static_cast<std::size_t>(std::bit_width(mebibytes)) - 1;
    return log < kIntervals ? log : kIntervals - 1;
  }
  constexpr Size of(Size bytes) const { return by_interval[interval_of(bytes)]; }
  friend bool operator==(const Divisions&, const Divisions&) = default;
};

// Which allocations fail on purpose: those that meet every condition that is set. No condition set: none.
struct InjectOom {
  std::optional<std::uint64_t> allocation;  // the n-th, from 1: of the step where `step` is set, else of the device
  std::optional<std::uint64_t> step;        // steps marked before it
  std::string phase;                        // label of the running phase; empty: any
  std::optional<std::uint64_t> rank;        // of a distributed run
  Size at_least = 0;                        // bytes asked for
  double probability = 1.0;                 // of failing, for an allocation that meets the rest
  std::uint64_t seed = 0;                   // of that chance
  std::uint64_t count = 1;                  // failures in all; 0: no end
  bool enabled = false;
  friend bool operator==(const InjectOom&, const InjectOom&) = default;
};

// What a value may be, beside what its type says.
struct Any {};
struct Reals {
  constexpr Reals(double lowest, double highest) : low(lowest), high(highest) {}
  double low, high;
};
enum class SizeRule { any, zero_or_power_of_two };
struct Sizes {
  constexpr Sizes(Size lowest, Size highest, SizeRule which = SizeRule::any)
      : low(lowest), high(highest), rule(which) {}
  Size low, high;
  SizeRule rule;
};

// Empty: it worked. Else what is wrong with the value, as the end of a sentence about it ("must be true or false").
using Problem = std::string;

[[nodiscard]] Problem parse(std::string_view text, Any range, bool& out);
[[nodiscard]] Problem parse(std::string_view text, Any range, Toggle& out);
[[nodiscard]] Problem parse(std::string_view text, Reals range, double& out);
[[nodiscard]] Problem parse(std::string_view text, Sizes range, Size& out);
[[nodiscard]] Problem parse(std::string_view text, Any range, Divisions& out);
[[nodiscard]] Problem parse(std::string_view text, Any range, InjectOom& out);

std::string format(bool value);
std::string format(Toggle value);
std::string format(double value);
std::string format(Size value);
std::string format(const Divisions& value);
std::string format(const InjectOom& value);

// "true or false", "1 to 4": for messages and the documentation.
std::string describe(const bool&, Any range);
std::string describe(const Toggle&, Any range);
std::string describe(const double&, Reals range);
std::string describe(const Size&, Sizes range);
std::string describe(const Divisions&, Any range);
std::string describe(const InjectOom&, Any range);

}  // namespace gapless::config

// SPDX-License-Identifier: Apache-2.0
#include "config/values.hpp"

#include <charconv>

#include "config/tokens.hpp"

namespace gapless::config {
namespace {

struct Unit {
  std::string_view name;
  unsigned shift;
};
// Largest first: format() takes the first that divides.
constexpr Unit kUnits[] = {{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}};

// Letters alone are the binary units too; "MB" is refused, because nobody agrees on what it means.
std::optional<unsigned> shift_of(std::string_view suffix) {
  if (suffix.empty() || suffix == "B") return 0;
  for (const Unit& unit : kUnits) {
    if (suffix == unit.name || suffix == unit.name.substr(0, 1)) return unit.shift;
  }
  return std::nullopt;
}

}  // namespace

Problem parse(std::string_view text, Any range, bool& out) {
  if (text == "true" || text == "True" || text == "1" || text == "on") {
    out = true;
  } else if (text == "false" || text == "False" || text == "0" || text == "off") {
    out = false;
  } else {
    return "must be " + describe(out, range);
  }
  return {};
}

Problem parse(std::string_view text, Any range, Toggle& out) {
  if (text == "auto") {
    out = Toggle::automatic;
    return {};
  }
  bool on = false;
  if (!parse(text, range, on).empty()) return "must be " + describe(out, range);
  out = on ? Toggle::on : Toggle::off;
  return {};
}

Problem parse(std::string_view text, Reals range, double& out) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && end == text.data() + text.size();
  // Written so that a NaN is refused.
  if (!whole || !(value >= range.low && value <= range.high)) return "must be " + describe(out, range);
  out = value;
  return {};
}

Problem parse(std::string_view text, Sizes range, Size& out) {
  Size value = 0;
  if (text == "unlimited" && range.high == kUnlimited) {
    out = kUnlimited;
    return {};
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) return "is larger than any address";
  if (error != std::errc{}) return "must be " + describe(out, range);
  const auto shift = shift_of(std::string_view(end, static_cast<std::size_t>(text.data() + text.size() - end)));
  if (!shift) return "must be " + describe(out, range);
  if (value > (kUnlimited >> *shift)) return "is larger than any address";
  value <<= *shift;
  const bool zero_allowed = range.rule == SizeRule::zero_or_power_of_two && value == 0;
  if (!zero_allowed) {
    if (value < range.low || value > range.high) return "must be " + describe(out, range);
    if (range.rule == SizeRule::zero_or_power_of_two && !std::has_single_bit(value))
      return "must be " + describe(out, range);
  }
  out = value;
  return {};
}

Problem parse(std::string_view text, Any range, Divisions& out) {
  Divisions value;
  if (text != "0") {
    Tokens tokens("roundup_power2_divisions:" + std::string(text));
    const std::size_t last = parse_divisions(tokens, 0, value);
    if (tokens.failed()) return "is wrong: " + tokens.error();
    if (last + 1 != tokens.size()) return "must be " + describe(out, range);
  }
  out = value;
  return {};
}

std::string format(bool value) {
  return value ? "true" : "false";
}

std::string format(Toggle value) {
  switch (value) {
    case Toggle::off:
      return "off";
    case Toggle::automatic:
      return "auto";
    case Toggle::on:
      return "on";
  }
  return "off";
}

std::string format(double value) {
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return error == std::errc{} ? std::string(buffer, end) : std::string("0");
}

std::string format(Size value) {
  if (value == kUnlimited) return "unlimited";
  for (const Unit& unit : kUnits) {
    if (value != 0 && value % (Size{1} << unit.shift) == 0)
      return std::to_string(value >> unit.shift) + std::string(unit.name);
  }
  return std::to_string(value);
}

std::string format(const Divisions& value) {
  bool all_equal = true;
  for (const Size each : value.by_interval) all_equal = all_equal && each == value.by_interval[0];
  if (all_equal) return std::to_string(value.by_interval[0]);
  std::string text = "[";
  for (std::size_t i = 0; i < Divisions::kIntervals; ++i) {
    text += (i == 0 ? "" : ",") + std::to_string(std::uint64_t{1} << i) + ":" + std::to_string(value.by_interval[i]);
  }
  return text + "]";
}

std::string describe(const bool&, Any) {
  return "true or false";
}
std::string describe(const Toggle&, Any) {
  return "off, auto or on";
}
std::string describe(const double&, Reals range) {
  return "a number from " + format(range.low) + " to " + format(range.high);
}

std::string describe(const Size&, Sizes range) {
  std::string text = "a size such as 512MiB";
  if (range.rule == SizeRule::zero_or_power_of_two) text = "0, or a power of two such as 16MiB";
  if (range.high == kUnlimited) return text + ", or unlimited";
  return text + ", from " + format(range.low) + " to " + format(range.high);
}

std::string describe(const Divisions&, Any) {
  return "0, a power of two, or a list such as [256:1,512:2,1024:4,>:8] (from that many MiB on: divisions)";
}

}  // namespace gapless::config

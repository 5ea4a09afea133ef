// SPDX-License-Identifier: Apache-2.0
// The text form of inject_oom: `off`, a number n (the n-th allocation), or `[key:value,...]`.
#include <charconv>

#include "config/values.hpp"

namespace gapless::config {
namespace {

constexpr std::size_t kLabelBytes = 31;  // what gapless_mark_phase keeps

template <typename Number>
bool read(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

bool read(std::string_view text, std::optional<std::uint64_t>& out) {
  std::uint64_t value = 0;
  if (!read(text, value)) return false;
  out = value;
  return true;
}

bool set_condition(std::string_view key, std::string_view value, InjectOom& out) {
  if (key == "allocation") return read(value, out.allocation) && *out.allocation > 0;
  if (key == "step") return read(value, out.step);
  if (key == "rank") return read(value, out.rank);
  if (key == "seed") return read(value, out.seed);
  if (key == "count") return read(value, out.count);
  if (key == "bytes") return parse(value, Sizes(0, kUnlimited), out.at_least).empty();
  if (key == "random") return parse(value, Reals(0.0, 1.0), out.probability).empty();
  if (key == "phase") {
    out.phase = value;
    return !value.empty() && value.size() <= kLabelBytes;
  }
  return false;
}

}  // namespace

Problem parse(std::string_view text, Any range, InjectOom& out) {
  const Problem wrong = "must be " + describe(out, range);
  InjectOom value;
  if (text == "off") {
    out = value;
    return {};
  }
  value.enabled = true;
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') {
    if (!set_condition("allocation", text, value)) return wrong;
    out = value;
    return {};
  }
  text = text.substr(1, text.size() - 2);
  if (text.empty()) return wrong;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const std::size_t colon = item.find(':');
    if (colon == std::string_view::npos || !set_condition(item.substr(0, colon), item.substr(colon + 1), value))
      return wrong;
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) return wrong;
  }
  out = value;
  return {};
}

std::string format(const InjectOom& value) {
  if (!value.enabled) return "off";
  const InjectOom defaults;
  std::string text;
  const auto add = [&](std::string_view key, const std::string& what) {
    text += (text.empty() ? "[" : ",") + std::string(key) + ":" + what;
  };
  if (value.allocation) add("allocation", std::to_string(*value.allocation));
  if (value.step) add("step", std::to_string(*value.step));
  if (!value.phase.empty()) add("phase", value.phase);
  if (value.rank) add("rank", std::to_string(*value.rank));
  if (value.at_least != defaults.at_least) add("bytes", format(value.at_least));
  if (value.probability != defaults.probability) add("random", format(value.probability));
  if (value.seed != defaults.seed) add("seed", std::to_string(value.seed));
  // Always written: it also makes a list of a value whose conditions all have their defaults.
  add("count", std::to_string(value.count));
  return text + "]";
}

std::string describe(const InjectOom&, Any) {
  return "off, a number n (the n-th allocation since opening), or a list of conditions that must all hold: "
         "[allocation:N,step:N,phase:LABEL,"
         "rank:N,bytes:SIZE,random:PROBABILITY,seed:N,count:N]";
}

}  // namespace gapless::config

// SPDX-License-Identifier: Apache-2.0
#include "driver/sim/config.hpp"

#include <array>
#include <charconv>
#include <cstddef>

namespace gapless::driver::sim {
namespace {

bool parse_number(std::string_view text, std::uint64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

bool parse_flag(std::string_view text, bool& out) {
  if (text != "0" && text != "1") return false;
  out = text == "1";
  return true;
}

struct Flag {
  std::string_view key;
  bool Config::*field;
};

constexpr std::array<Flag, 14> kFlags = {{
    {"strict", &Config::strict},
    {"threads_separate", &Config::threads_separate},
    {"free_orders", &Config::free_orders},
    {"sticky", &Config::sticky},
    {"abort", &Config::abort_on_violation},
    {"report", &Config::report},
    {"summary", &Config::summary},
    {"data", &Config::data},
    {"reserve_host_va", &Config::reserve_host_va},
    {"fixed_base", &Config::fixed_base},
    {"virtual_memory", &Config::virtual_memory},
    {"gpu_direct_rdma", &Config::gpu_direct_rdma},
    {"fabric", &Config::fabric},
    {"fabric_permitted", &Config::fabric_permitted},
}};

struct Size {
  std::string_view key;
  std::uint64_t Config::*field;
};

constexpr std::array<Size, 4> kSizes = {{
    {"size", &Config::size},
    {"other", &Config::other},
    {"data_max", &Config::data_max},
    {"va", &Config::va},
}};

bool set(Config& config, std::string_view key, std::string_view value) {
  for (const Flag& flag : kFlags) {
    if (flag.key == key) return parse_flag(value, config.*flag.field);
  }
  for (const Size& size : kSizes) {
    if (size.key == key) return parse_size(value, config.*size.field);
  }
  if (key == "seed") return parse_number(value, config.seed);
  if (key == "completion") return parse_completion(value, config);
  if (key == "devices") {
    std::uint64_t n = 0;
    if (!parse_number(value, n) || n == 0 || n > 64) return false;  // access rights are one bit a device
    config.devices = static_cast<int>(n);
    return true;
  }
  return false;
}

}  // namespace

bool parse_size(std::string_view text, std::uint64_t& out) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || !(value >= 0)) return false;  // "nan" is a number to from_chars
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  double scale = 1;
  if (!unit.empty()) {
    constexpr std::string_view kUnits = "KMGT";
    const char letter = unit[0] >= 'a' ? static_cast<char>(unit[0] - 'a' + 'A') : unit[0];
    if (const std::size_t power = kUnits.find(letter); power != std::string_view::npos) {
      for (std::size_t i = 0; i <= power; ++i) scale *= 1024;
      unit.remove_prefix(1);
      if (unit == "i") return false;
    }
    if (!unit.empty() && unit != "iB" && unit != "B") return false;
  }
  if (value * scale >= 9.2e18) return false;
  out = static_cast<std::uint64_t>(value * scale);
  return true;
}

bool parse_completion(std::string_view text, Config& out) {
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const bool has_argument = colon != std::string_view::npos;
  std::uint64_t argument = 0;
  if (has_argument && !parse_number(text.substr(colon + 1), argument)) return false;
  if (name == "random") {
    out.completion = Completion::random;
    if (has_argument) out.seed = argument;
    return true;
  }
  if (name == "lag") {
    if (!has_argument) return false;
    out.completion = Completion::lag;
    out.lag = argument;
    return true;
  }
  if (has_argument) return false;
  if (name == "eager")
    out.completion = Completion::eager;
  else if (name == "lazy")
    out.completion = Completion::lazy;
  else if (name == "manual")
    out.completion = Completion::manual;
  else
    return false;
  return true;
}

bool parse_config(std::string_view text, Config& out, std::string& why) {
  Config config = out;
  while (!text.empty()) {
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) {
      why = "'" + std::string(text) + "' is not key=value";
      return false;
    }
    const std::string_view key = text.substr(0, equals);
    text.remove_prefix(equals + 1);
    if (key == "stats") {
      config.stats = std::string(text);
      break;
    }
    const std::size_t comma = text.find(',');
    const std::string_view value = text.substr(0, comma);
    if (!set(config, key, value)) {
      why = "bad key or value: " + std::string(key) + "=" + std::string(value);
      return false;
    }
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  out = config;
  return true;
}

std::string format_config(const Config& config) {
  std::string text;
  const auto add = [&text](std::string_view key, const std::string& value) {
    if (!text.empty()) text += ',';
    text.append(key).append("=").append(value);
  };
  for (const Size& size : kSizes) add(size.key, std::to_string(config.*size.field));
  add("devices", std::to_string(config.devices));
  add("seed", std::to_string(config.seed));
  switch (config.completion) {
    case Completion::eager:
      add("completion", "eager");
      break;
    case Completion::lazy:
      add("completion", "lazy");
      break;
    case Completion::random:
      add("completion", "random");
      break;
    case Completion::lag:
      add("completion", "lag:" + std::to_string(config.lag));
      break;
    case Completion::manual:
      add("completion", "manual");
      break;
  }
  for (const Flag& flag : kFlags) add(flag.key, config.*flag.field ? "1" : "0");
  if (!config.stats.empty()) add("stats", config.stats);
  return text;
}

}  // namespace gapless::driver::sim

// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/report.hpp"

#include <cinttypes>
#include <cstdio>

namespace gapless::tools {
namespace {

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (code < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", code);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string number(double value, int digits) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", digits, value);
  return buffer;
}

std::string counts(const std::map<std::string, std::uint64_t>& calls) {
  std::string out = "{";
  for (const auto& [name, count] : calls) {
    if (out.size() > 1) out += ", ";
    out += quoted(name) + ": " + std::to_string(count);
  }
  return out + "}";
}

std::uint64_t sum(const std::map<std::string, std::uint64_t>& calls) {
  std::uint64_t total = 0;
  for (const auto& [name, count] : calls) total += count;
  return total;
}

std::string share(const KeptAddresses::Share& of) {
  return of.of == 0 ? "null" : number(static_cast<double>(of.kept) / static_cast<double>(of.of), 4);
}

class JsonObject {
 public:
  JsonObject& raw(const char* key, const std::string& value) {
    text_ += (text_.empty() ? "{" : ", ") + quoted(key) + ": " + value;
    return *this;
  }
  JsonObject& field(const char* key, std::uint64_t value) { return raw(key, std::to_string(value)); }
  std::string text() const { return text_ + "}"; }

 private:
  std::string text_;
};

}  // namespace

std::string json_line(const ReplayResult& r, bool with_min_fit) {
  std::string steps = "[";
  std::string kept = "[";
  for (const auto& step : r.steps) kept += (kept.size() > 1 ? ", " : "") + share(step.large);
  for (const auto& step : r.steps) steps += (steps.size() > 1 ? ", " : "") + std::to_string(step.driver_calls);
  JsonObject json;
  json.raw("name", quoted(r.name)).raw("allocator", quoted(name_of(r.allocator))).field("size", r.size);
  json.field("peak_live", r.peak_live).field("peak_reserved", r.peak_reserved);
  // What was reached before the end says nothing about the whole trace.
  json.raw("ratio", r.completed ? number(r.ratio(), 6) : "null");
  json.raw("completed", r.completed ? "true" : "false").field("ooms", r.ooms).field("retries", r.retries);
  json.raw("driver_calls", counts(r.driver_calls)).field("driver_calls_total", sum(r.driver_calls));
  json.field("driver_calls_steady", r.driver_calls_steady).raw("driver_calls_by_step", steps + "]");
  json.raw("kept_addresses", share(r.kept_steady())).raw("kept_addresses_by_step", kept + "]");
  json.raw("event_calls", counts(r.event_calls)).field("stalls", r.stalls).field("violations", r.violations);
  json.raw("ns_per_pair", r.ns_per_pair > 0 ? number(r.ns_per_pair, 1) : "null");
  if (with_min_fit) json.raw("min_fit", r.min_fit > 0 ? number(r.min_fit, 4) : "null");
  json.raw("modelled_driver_us_first", number(r.first_us, 1));
  if (r.with_creator) json.raw("modelled_creator_us_first", number(r.creator_first_us, 1));
  json.raw("modelled_remap_us_steady", number(r.remap_steady_us, 1));
  json.raw("modelled_create_us_steady", number(r.create_steady_us, 1));
  if (!r.error.empty()) json.raw("error", quoted(r.error));
  return json.text();
}

std::string table_header() {
  char line[256];
  std::snprintf(line, sizeof line, "%-22s %-10s %9s %9s %7s %7s %7s %7s %9s %9s %9s %6s %6s %7s", "trace", "allocator",
                "live MiB", "res. MiB", "ratio", "fit", "calls", "steady", "first ms", "remap us", "create us",
                "stalls", "kept", "ns/pair");
  return line;
}

std::string table_line(const ReplayResult& r) {
  constexpr double kMib = 1024.0 * 1024.0;
  char line[320];
  const KeptAddresses::Share kept = r.kept_steady();
  std::snprintf(line, sizeof line,
                "%-22s %-10s %9.1f %9.1f %7s %7s %7" PRIu64 " %7" PRIu64 " %9.1f %9.1f %9.1f %6" PRIu64 " %6s %7s",
                r.name.c_str(), name_of(r.allocator), static_cast<double>(r.peak_live) / kMib,
                static_cast<double>(r.peak_reserved) / kMib, r.completed ? number(r.ratio(), 4).c_str() : "-",
                r.min_fit > 0 ? number(r.min_fit, 4).c_str() : "-", sum(r.driver_calls), r.driver_calls_steady,
                r.first_us / 1000, r.remap_steady_us, r.create_steady_us, r.stalls,
                kept.of > 0 ? share(kept).c_str() : "-", r.ns_per_pair > 0 ? number(r.ns_per_pair, 1).c_str() : "-");
  std::string out = line;
  if (r.violations != 0) out += "  VIOLATIONS: " + std::to_string(r.violations);
  if (!r.completed) out += "  NOT COMPLETED: " + r.error;
  return out;
}

}  // namespace gapless::tools

// SPDX-License-Identifier: Apache-2.0
// Machine: statistics as JSON.
#include <cstdio>

#include "driver/sim/core.hpp"
#include "driver/sim/machine.hpp"

namespace gapless::driver::sim {
namespace {

std::string quoted(const std::string& raw) {
  std::string out = "\"";
  for (const char c : raw) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += text("\\u%04x", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string number(std::uint64_t n) {
  return std::to_string(n);
}

}  // namespace

std::string Machine::stats_json() {
  std::string calls;
  for (const Count& count : call_counts()) {
    calls += (calls.empty() ? "" : ", ") + quoted(count.name) + ": " + number(count.calls);
  }
  std::uint64_t used = 0;
  std::uint64_t peak = 0;
  std::string devices;
  for (int device = 0; device < device_count(); ++device) {
    const std::uint64_t bytes = physical_bytes(device);
    const std::uint64_t most = physical_bytes_peak(device);
    used += bytes;
    peak += most;
    devices += std::string(device == 0 ? "" : ", ") + "{\"physical_bytes\": " + number(bytes) +
               ", \"physical_bytes_peak\": " + number(most) + "}";
  }
  std::string reports;
  for (const Violation& violation : violations()) {
    reports += std::string(reports.empty() ? "" : ",") + "\n    {\"rule\": " + quoted(violation.rule) +
               ", \"operation\": " + number(violation.operation) + ", \"text\": " + quoted(violation.text) + "}";
  }
  Config shown = config();
  shown.stats.clear();
  return "{\n  \"driver_calls\": {" + calls + "},\n  \"physical_bytes\": " + number(used) +
         ",\n  \"physical_bytes_peak\": " + number(peak) + ",\n  \"violations\": " + number(violation_count()) +
         ",\n  \"violation_reports\": [" + reports + "],\n  \"devices\": [" + devices +
         "],\n  \"operations\": " + number(operations()) + ",\n  \"config\": " + quoted(format_config(shown)) + "\n}\n";
}

bool Machine::write_stats(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return false;
  const std::string json = stats_json();
  const bool written = std::fwrite(json.data(), 1, json.size(), file) == json.size();
  return (std::fclose(file) == 0) && written;
}

}  // namespace gapless::driver::sim

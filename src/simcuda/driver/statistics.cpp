// SPDX-License-Identifier: Apache-2.0
#include "simcuda/driver/statistics.hpp"

#include <cstdio>
#include <mutex>

#include "driver/sim/violations.hpp"
#include "simcuda/counters.hpp"
#include "simcuda/driver/process.hpp"

namespace gapless::simcuda {
namespace {

// Counters are static objects of code that may be called from any thread: the list only grows, at its head.
std::atomic<CallCounter*> list_head{nullptr};
std::mutex list_mutex;

void append_text(std::string& out, const std::string& text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_calls(std::string& out, const char* key, int kind) {
  out += std::string(",\n \"") + key + "\": {";
  bool first = true;
  for (const auto& [name, calls] : calls_of_kind(kind)) {
    out += first ? "\n  " : ",\n  ";
    append_text(out, name);
    out += ": " + std::to_string(calls);
    first = false;
  }
  out += first ? "}" : "\n }";
}

std::string size_text(std::uint64_t bytes) {
  const double mib = static_cast<double>(bytes) / (1024.0 * 1024.0);
  char text[32];
  std::snprintf(text, sizeof text, mib < 1024 ? "%.1f MiB" : "%.2f GiB", mib < 1024 ? mib : mib / 1024);
  return text;
}

void append_devices(std::string& out, Machine* m) {
  out += ",\n \"devices\": [";
  for (int device = 0; m != nullptr && device < m->device_count(); ++device) {
    driver::DeviceInfo info;
    m->device_info(device, info);
    out += device == 0 ? "\n  " : ",\n  ";
    out += "{\"total_bytes\": " + std::to_string(info.total_bytes) +
           ", \"physical_bytes\": " + std::to_string(m->physical_bytes(device)) +
           ", \"physical_bytes_peak\": " + std::to_string(m->physical_bytes_peak(device)) + "}";
  }
  out += "\n ]";
}

void append_violations(std::string& out, Machine* m) {
  out += ",\n \"violation_reports\": [";
  if (m != nullptr) {
    bool first = true;
    for (const driver::sim::Violation& each : m->violations()) {
      out += first ? "\n  {\"rule\": " : ",\n  {\"rule\": ";
      append_text(out, each.rule);
      out += ", \"operation\": " + std::to_string(each.operation) + ", \"text\": ";
      append_text(out, each.text);
      out += "}";
      first = false;
    }
  }
  out += "]";
}

}  // namespace

std::map<std::string, std::uint64_t> calls_of_kind(int kind) {
  std::map<std::string, std::uint64_t> calls;
  for (CallCounter* each = list_head.load(std::memory_order_acquire); each != nullptr; each = each->next) {
    const std::uint64_t count = each->calls.load(std::memory_order_relaxed);
    if (each->kind == kind && count != 0) calls[each->name] += count;
  }
  return calls;
}

std::string statistics_json() {
  Machine* m = machine();
  std::uint64_t bytes = 0;
  std::uint64_t peak = 0;
  for (int device = 0; m != nullptr && device < m->device_count(); ++device) {
    bytes += m->physical_bytes(device);
    peak += m->physical_bytes_peak(device);
  }
  std::string out = "{\n \"physical_bytes\": " + std::to_string(bytes);
  out += ",\n \"physical_bytes_peak\": " + std::to_string(peak);
  out += ",\n \"violations\": " + std::to_string(m != nullptr ? m->violation_count() : 0);
  if (m != nullptr) {
    out += ",\n \"seed\": " + std::to_string(m->config().seed) + ",\n \"again\": ";
    append_text(out, driver::sim::run_again(m->config()));
  }
  out += ",\n \"operations\": " + std::to_string(m != nullptr ? m->operations() : 0);
  append_calls(out, "driver_calls", GAPLESS_SIM_DRIVER);
  append_calls(out, "missing_calls", GAPLESS_SIM_MISSING);
  append_calls(out, "maths_calls", GAPLESS_SIM_MATHS);
  append_calls(out, "kernels", GAPLESS_SIM_KERNEL);
  append_calls(out, "launches_not_judged", GAPLESS_SIM_NOT_JUDGED);
  append_devices(out, m);
  append_violations(out, m);
  return out + "\n}\n";
}

std::string statistics_line() {
  Machine* m = machine();
  std::string line;
  for (int device = 0; m != nullptr && device < m->device_count(); ++device) {
    if (m->physical_bytes_peak(device) == 0 && device > 0) continue;
    driver::DeviceInfo info;
    m->device_info(device, info);
    if (!line.empty()) line += ", ";
    line += "device " + std::to_string(device) + ": peak " + size_text(m->physical_bytes_peak(device)) + " of " +
            size_text(info.total_bytes);
  }
  const std::uint64_t broken = m != nullptr ? m->violation_count() : 0;
  line += "; " + std::to_string(broken) + (broken == 1 ? " violation" : " violations");
  const auto unknown = calls_of_kind(GAPLESS_SIM_NOT_JUDGED);
  if (unknown.empty()) return line;
  std::uint64_t launches = 0;
  for (const auto& [name, calls] : unknown) launches += calls;
  return line + "; " + std::to_string(launches) + " launches of " + std::to_string(unknown.size()) +
         " kernels were not judged: nobody declared what they touch";
}

bool write_statistics(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return false;
  const std::string text = statistics_json();
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  return std::fclose(file) == 0 && written;
}

}  // namespace gapless::simcuda

using namespace gapless::simcuda;

void gapless::simcuda::gapless_sim_register_counter(CallCounter* counter) {
  std::lock_guard lock(list_mutex);
  if (counter->registered.load(std::memory_order_relaxed)) return;
  counter->next = list_head.load(std::memory_order_relaxed);
  list_head.store(counter, std::memory_order_release);
  counter->registered.store(true, std::memory_order_release);
}

int* gapless::simcuda::gapless_sim_runtime_depth() {
  thread_local int depth = 0;
  return &depth;
}

void gapless_sim_visit_calls(gapless_sim_call_visitor visitor, void* user) {
  for (const int kind :
       {GAPLESS_SIM_DRIVER, GAPLESS_SIM_MATHS, GAPLESS_SIM_MISSING, GAPLESS_SIM_KERNEL, GAPLESS_SIM_NOT_JUDGED}) {
    for (const auto& [name, calls] : calls_of_kind(kind)) visitor(user, name.c_str(), kind, calls);
  }
}

uint64_t gapless_sim_calls(const char* function) {
  if (function == nullptr) return 0;
  std::uint64_t calls = 0;
  for (const int kind : {GAPLESS_SIM_DRIVER, GAPLESS_SIM_MATHS, GAPLESS_SIM_MISSING, GAPLESS_SIM_KERNEL}) {
    const auto all = calls_of_kind(kind);
    const auto found = all.find(function);
    if (found != all.end()) calls += found->second;
  }
  return calls;
}

void gapless_sim_reset_counters(void) {
  for (CallCounter* each = list_head.load(std::memory_order_acquire); each != nullptr; each = each->next) {
    each->calls.store(0, std::memory_order_relaxed);
  }
  Machine* m = machine();
  for (int device = 0; m != nullptr && device < m->device_count(); ++device) m->reset_physical_peak(device);
}

// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/picture.hpp"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include "tools/replay/address_map.hpp"
#include "tools/replay/png.hpp"

namespace gapless::tools {
namespace {

constexpr std::size_t kColumns = 600;
constexpr double kWidth = 900, kHeight = 330, kLeft = 58, kTop = 10, kBottom = 28;
constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

__attribute__((format(printf, 1, 2))) std::string text(const char* format, ...) {
  char buffer[1024];
  va_list arguments;
  va_start(arguments, format);
  const int length = std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return {buffer, std::min(sizeof buffer - 1, static_cast<std::size_t>(std::max(0, length)))};
}

// 1, 2 or 5 times a power of ten, for about five ticks.
double tick_step(double range) {
  double step = 1e-3;
  for (int i = 0;; ++i) {
    if (range / step <= 6) return step;
    step *= i % 3 == 1 ? 2.5 : 2;
  }
}

std::string escaped(const std::string& raw) {
  std::string out;
  for (const char c : raw) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

PictureRecorder::PictureRecorder(std::size_t events)
    : events_(std::max<std::size_t>(events, 1)), samples_(std::min(kColumns, events_)) {}

void PictureRecorder::sample(std::size_t event, std::uint64_t live_bytes, std::uint64_t reserved_bytes) {
  Sample& column = samples_[event * samples_.size() / events_];
  column.event = event;
  column.live_bytes = std::max(column.live_bytes, live_bytes);
  column.reserved_bytes = std::max(column.reserved_bytes, reserved_bytes);
}

void PictureRecorder::allocated(std::size_t event, void* pointer, std::uint64_t bytes) {
  const auto address = reinterpret_cast<std::uint64_t>(pointer);
  live_[address] = bytes;
  if (bytes != 0) changes_.push_back({event, address, bytes, true});
}

void PictureRecorder::freed(std::size_t event, void* pointer) {
  const auto block = live_.find(reinterpret_cast<std::uint64_t>(pointer));
  if (block == live_.end()) return;
  changes_.push_back({event, block->first, block->second, false});
  live_.erase(block);
}

std::string PictureRecorder::curves(const ReplayResult& result, const std::vector<Step>& steps) const {
  const double top =
      1.04 * static_cast<double>(std::max<std::uint64_t>({result.peak_reserved, result.peak_live, 1})) / kGib;
  const auto x = [&](double event) { return kLeft + (kWidth - kLeft - 4) * event / static_cast<double>(events_); };
  const auto y = [&](double gib) { return kHeight - kBottom - (kHeight - kTop - kBottom) * gib / top; };
  std::string svg = text(
      "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"live and reserved bytes over time\">", kWidth, kHeight);
  const double step = tick_step(top);
  for (double tick = 0; tick <= top; tick += step) {
    svg += text("<path class=\"grid\" d=\"M%.0f %.1fH%.0f\"/><text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%g</text>",
                kLeft, y(tick), kWidth - 4, kLeft - 6, y(tick) + 4, tick);
  }
  // More marks than this would be a grey wall.
  const std::size_t every = steps.size() / 40 + 1;
  for (std::size_t i = 0; i < steps.size(); i += every) {
    const double at = x(static_cast<double>(steps[i].begin));
    svg += text("<path class=\"mark\" d=\"M%.1f %.0fV%.0f\"/>", at, kTop, kHeight - kBottom);
  }
  std::string live = text("M%.1f %.1f", x(0), y(0));
  std::string reserved = "M";
  for (std::size_t i = 0; i < samples_.size(); ++i) {
    const double at =
        x((static_cast<double>(i) + 0.5) * static_cast<double>(events_) / static_cast<double>(samples_.size()));
    live += text("L%.1f %.1f", at, y(static_cast<double>(samples_[i].live_bytes) / kGib));
    reserved += text("%s%.1f %.1f", i == 0 ? "" : "L", at, y(static_cast<double>(samples_[i].reserved_bytes) / kGib));
  }
  svg += "<path class=\"live\" d=\"" + live + text("L%.1f %.1fZ", x(static_cast<double>(events_)), y(0)) + "\"/>";
  svg += "<path class=\"reserved\" d=\"" + reserved + "\"/>";
  svg += text("<text x=\"%.0f\" y=\"%.0f\">GiB; %zu events, %zu steps (lines: step starts)</text></svg>", kLeft,
              kHeight - 8, events_, steps.size());
  return svg;
}

std::string PictureRecorder::address_space(const std::vector<MappingChange>& mappings) const {
  AddressMap map(events_);
  for (const auto& change : mappings) map.mapping(change.event, change.address, change.bytes, change.mapped);
  for (const auto& change : changes_) map.block(change.event, change.address, change.bytes, change.live);
  if (map.mapped_bytes() == 0) return "";
  return "<img alt=\"address space over time\" src=\"" + png_data_url(map.draw()) + "\">" +
         text(
             "<p class=\"legend\">Addresses upward (%.2f GiB were mapped at some time; holes between reservations left "
             "out), "
             "time to the right. <i class=\"a\"></i> live <i class=\"ab\"></i> partly live <i class=\"b\"></i> mapped, "
             "nothing live <i class=\"c\"></i> not mapped</p>",
             static_cast<double>(map.mapped_bytes()) / kGib);
}

std::string PictureRecorder::render(const ReplayResult& result, const std::vector<MappingChange>& mappings,
                                    const std::vector<Step>& steps) const {
  std::uint64_t calls = 0;
  for (const auto& [name, count] : result.driver_calls) calls += count;
  std::string out = "<section><h2>" + escaped(result.name) + ", " + name_of(result.allocator) + "</h2>";
  const std::string ratio = result.completed ? text(", ratio <b>%.4f</b>", result.ratio()) : "";
  out += text("<p>Peak reserved %.3f GiB, peak live %.3f GiB%s. %llu driver calls, %llu after the third step. %s</p>",
              static_cast<double>(result.peak_reserved) / kGib, static_cast<double>(result.peak_live) / kGib,
              ratio.c_str(), static_cast<unsigned long long>(calls),
              static_cast<unsigned long long>(result.driver_calls_steady),
              result.completed ? "Completed." : "<b>Did not complete.</b>");
  out += curves(result, steps);
  out += "<p class=\"legend\"><i class=\"a\"></i> live <i class=\"line\"></i> reserved (physical)</p>";
  out += address_space(mappings);
  return out + "</section>\n";
}

std::string page_of(const std::vector<std::string>& fragments) {
  std::string page = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>gapless-replay</title><style>
body{font:16px/1.45 system-ui,sans-serif;color:#1c2430;background:#fff;max-width:60rem;margin:0 auto;padding:1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:1.6rem 0 .3rem}p{margin:.3rem 0}
svg,img{width:100%;height:auto;display:block}img{image-rendering:pixelated;border:1px solid #d5dae1;aspect-ratio:5/2;
box-sizing:border-box;width:93.1%;margin-left:6.4%}
svg text{font:12px system-ui,sans-serif;fill:#5b6675}.grid{stroke:#e6e9ee;fill:none}.mark{stroke:#e1c9a6;fill:none;stroke-width:.7}
.live{fill:#2d62ad}.reserved{stroke:#c2410c;stroke-width:1.8;fill:none}
.legend{font-size:.85rem;color:#5b6675}i{display:inline-block;width:.8em;height:.8em;border:1px solid #b8c0cc}
i.a{background:#2d62ad}i.ab{background:linear-gradient(90deg,#2d62ad,#f3d9b4);width:2em}i.b{background:#f3d9b4}i.c{background:#fff}i.line{height:0;border:0;border-top:2px solid #c2410c;vertical-align:middle}
/* The drawing shrinks with the page, its words must not. */
@media(max-width:40rem){svg text{font-size:25px}}
section{break-inside:avoid}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
</style></head><body><h1>gapless-replay</h1>
)";
  for (const auto& fragment : fragments) page += fragment;
  return page + "</body></html>\n";
}

}  // namespace gapless::tools

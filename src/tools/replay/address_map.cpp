// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/address_map.hpp"

#include <algorithm>
#include <cmath>

namespace gapless::tools {
namespace {

constexpr std::size_t kColumns = 600;
constexpr std::size_t kRows = 240;
constexpr std::uint8_t kUnmapped = 0;
constexpr int kShades = 16;  // palette: 0 unmapped, 1 .. kShades + 1 mapped with none to all of it live

}  // namespace

void AddressMap::mapping(std::size_t event, std::uint64_t address, std::uint64_t bytes, bool mapped) {
  changes_.push_back({event, address, bytes, Layer::mapped, mapped});
}

void AddressMap::block(std::size_t event, std::uint64_t address, std::uint64_t bytes, bool live) {
  changes_.push_back({event, address, bytes, Layer::live, live});
}

std::vector<AddressMap::Extent> AddressMap::extents() const {
  std::vector<Extent> ranges;
  for (const Change& change : changes_) {
    if (change.layer == Layer::mapped && change.added)
      ranges.push_back({change.address, change.address + change.bytes, 0});
  }
  std::sort(ranges.begin(), ranges.end(), [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  std::vector<Extent> merged;
  for (const Extent& range : ranges) {
    if (!merged.empty() && range.begin <= merged.back().end) {
      merged.back().end = std::max(merged.back().end, range.end);
    } else {
      merged.push_back(range);
    }
  }
  std::uint64_t offset = 0;
  for (Extent& extent : merged) {
    extent.offset = offset;
    offset += extent.end - extent.begin;
  }
  return merged;
}

std::uint64_t AddressMap::mapped_bytes() const {
  const auto all = extents();
  return all.empty() ? 0 : all.back().offset + all.back().end - all.back().begin;
}

Image AddressMap::draw() const {
  const auto all = extents();
  const double total = static_cast<double>(std::max<std::uint64_t>(1, mapped_bytes()));
  const double row_bytes = total / static_cast<double>(kRows);
  // Bytes of each row in each layer at the moment that the loop below has reached.
  std::vector<double> layers[2] = {std::vector<double>(kRows), std::vector<double>(kRows)};

  const auto apply = [&](const Change& change) {
    auto extent = std::upper_bound(all.begin(), all.end(), change.address,
                                   [](std::uint64_t address, const Extent& e) { return address < e.begin; });
    if (extent == all.begin()) return;
    --extent;
    double at = static_cast<double>(extent->offset + (change.address - extent->begin));
    const double end = std::min(total, at + static_cast<double>(change.bytes));
    while (at < end) {
      const auto row = std::min(kRows - 1, static_cast<std::size_t>(at / row_bytes));
      const double row_end = row == kRows - 1 ? end : std::min(end, static_cast<double>(row + 1) * row_bytes);
      if (row_end <= at) break;
      layers[static_cast<std::size_t>(change.layer)][row] += change.added ? row_end - at : at - row_end;
      at = row_end;
    }
  };

  auto order = changes_;
  std::stable_sort(order.begin(), order.end(), [](const Change& a, const Change& b) { return a.event < b.event; });
  Image image;
  image.width = static_cast<std::uint32_t>(kColumns);
  image.height = static_cast<std::uint32_t>(kRows);
  image.pixels.assign(kColumns * kRows, kUnmapped);
  image.palette.push_back({255, 255, 255});
  for (int shade = 0; shade <= kShades; ++shade) {
    const double f = static_cast<double>(shade) / kShades;
    const auto mix = [&](double from, double to) {
      return static_cast<std::uint8_t>(std::lround(from + (to - from) * f));
    };
    image.palette.push_back({mix(243, 45), mix(217, 98), mix(180, 173)});
  }
  std::size_t next = 0;
  for (std::size_t column = 0; column < kColumns; ++column) {
    const std::size_t until = (column + 1) * events_ / kColumns;
    for (; next < order.size() && order[next].event < until; ++next) apply(order[next]);
    for (std::size_t row = 0; row < kRows; ++row) {
      const double mapped = layers[0][row];
      if (mapped < row_bytes / 2) continue;
      const double live = std::clamp(layers[1][row] / row_bytes, 0.0, 1.0);
      const auto shade = static_cast<std::uint8_t>(1 + std::lround(live * kShades));
      image.pixels[(kRows - 1 - row) * kColumns + column] = shade;
    }
  }
  return image;
}

}  // namespace gapless::tools

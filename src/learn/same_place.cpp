// SPDX-License-Identifier: Apache-2.0
#include "learn/same_place.hpp"

#include <iterator>

namespace gapless::learn {

namespace {

constexpr std::size_t kNowhere = ~std::size_t{0};
// Lives of one size that one of them speaks for, when nothing but the size is alike.
constexpr std::uint32_t kMostForOne = 16;

std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
  return hash ^ (hash >> 29);
}

}  // namespace

SamePlace::SamePlace(const RecordedStep& step, const std::vector<std::uint32_t>& there)
    : order_(step.lives.size(), kNowhere) {
  for (std::size_t i = 0; i < step.lives.size(); i++) {
    if (is_older(step.lives[i])) continue;
    order_[i] = sizes_.size();
    sizes_.push_back(step.lives[i].units);
    of_size_[step.lives[i].units]++;
  }
  for (std::size_t i = 0; i < there.size(); i++) {
    if (there[i] == kNotSeen || order_[i] == kNowhere) continue;
    const bool grows = there[i] != step.lives[i].units;
    for (std::size_t width = 0; width < std::size(kWidths); width++) {
      Votes& votes = by_place_[place(order_[i], width)];
      (grows ? votes.growing : votes.fixed)++;
      if (grows) votes.units = there[i];
    }
  }
}

std::uint64_t SamePlace::place(std::size_t at, std::size_t width) const {
  const Width& wide = kWidths[width];
  std::uint64_t hash = mixed(width + 1, sizes_[at]);
  for (int k = 1; k <= wide.before; k++)
    hash = mixed(hash, at >= static_cast<std::size_t>(k) ? sizes_[at - static_cast<std::size_t>(k)] : 0u);
  for (int k = 1; k <= wide.after; k++)
    hash =
        mixed(hash, at + static_cast<std::size_t>(k) < sizes_.size() ? sizes_[at + static_cast<std::size_t>(k)] : 0u);
  return hash;
}

std::optional<Likely> SamePlace::of(std::uint32_t life) const {
  if (order_[life] == kNowhere) return std::nullopt;
  const double own = sizes_[order_[life]];
  for (std::size_t width = 0; width < std::size(kWidths); width++) {
    const auto found = by_place_.find(place(order_[life], width));
    if (found == by_place_.end()) continue;
    const Votes& votes = found->second;
    // Its size alone: one workspace that had it says nothing of two hundred activations.
    const bool by_size = kWidths[width].before == 0 && kWidths[width].after == 0;
    if (by_size && votes.growing == 0 && votes.fixed * kMostForOne < of_size_.at(sizes_[order_[life]])) continue;
    // Where both kinds were seen, each of many takes its share of the growth, so that their sum is right.
    const double share = static_cast<double>(votes.growing) / static_cast<double>(votes.fixed + votes.growing);
    return Likely{votes.growing > 0, own + share * (static_cast<double>(votes.units) - own)};
  }
  return std::nullopt;
}

}  // namespace gapless::learn

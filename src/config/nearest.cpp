// SPDX-License-Identifier: Apache-2.0
#include "config/nearest.hpp"

#include <algorithm>
#include <vector>

namespace gapless::config {
namespace {

constexpr std::size_t kLongest = 64;  // bytes; longer names are no misspelling, and would cost quadratic time

char folded(char c) {
  if (c == '-') return '_';
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the table of distances between prefixes: a swap looks two rows back.
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::swap(before, last);
    std::swap(last, row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = folded(a[i - 1]) == folded(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) && folded(a[i - 2]) == folded(b[j - 1])) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
  }
  return row[b.size()];
}

void Nearest::consider(std::string_view candidate) {
  if (name_.size() > kLongest) return;
  const std::size_t distance = edit_distance(name_, candidate);
  const std::size_t allowed = std::max<std::size_t>(1, std::min(name_.size(), candidate.size()) / 3);
  if (distance > allowed || (!best_.empty() && distance >= distance_)) return;
  best_ = candidate;
  distance_ = distance;
}

std::string unknown_name_text(std::string_view name, std::string_view nearest) {
  std::string text = "'" + printable(name) + "' is not an option";
  if (const std::size_t equals = name.find('='); equals != std::string_view::npos)
    return text + "; a name and its value are joined by a colon: '" + printable(name.substr(0, equals)) + ":" +
           printable(name.substr(equals + 1)) + "'";
  if (!nearest.empty()) text += "; did you mean '" + std::string(nearest) + "'?";
  return text;
}

std::string printable(std::string_view text) {
  std::string out(text.substr(0, kLongest));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  if (text.size() > kLongest) out += "...";
  return out;
}

}  // namespace gapless::config

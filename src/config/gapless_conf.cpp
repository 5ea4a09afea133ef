// SPDX-License-Identifier: Apache-2.0
#include "config/load.hpp"
#include "config/nearest.hpp"
#include "config/report.hpp"

namespace gapless::config {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view space = " \t\n\v\f\r";
  const std::size_t first = text.find_first_not_of(space);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(space) - first + 1);
}

// Cuts the first item off `rest`: up to a comma outside all brackets. False: brackets do not pair; the item is all that
// is left.
bool next_item(std::string_view& rest, std::string_view& item) {
  std::size_t depth = 0;
  bool paired = true;
  std::size_t i = 0;
  for (; i < rest.size() && (rest[i] != ',' || depth > 0); ++i) {
    if (rest[i] == '[') ++depth;
    if (rest[i] == ']') {
      paired = paired && depth > 0;
      depth -= depth > 0 ? 1 : 0;
    }
  }
  item = rest.substr(0, i);
  rest.remove_prefix(i < rest.size() ? i + 1 : i);
  return paired && depth == 0;
}

}  // namespace

void parse_gapless_conf(std::string_view text, std::string_view source, Options& options, Messages& messages) {
  Report report(source, messages);
  if (text.size() > kLongestText) return report.error("longer than 64 KiB, ignored");
  while (!text.empty()) {
    std::string_view item;
    if (!next_item(text, item)) {
      report.error("'" + printable(item) + "': brackets do not pair");
      continue;
    }
    item = trimmed(item);
    if (item.empty()) continue;
    const std::size_t colon = item.find(':');
    const std::string_view name = trimmed(item.substr(0, colon));
    const OptionInfo* option = find_option(name);
    if (option == nullptr) {
      report.error(unknown_name_text(name, nearest_option(name)));
    } else if (colon == std::string_view::npos) {
      report.error("'" + std::string(name) + "' has no value: write " + std::string(name) + ":VALUE");
    } else {
      report.set(*option, trimmed(item.substr(colon + 1)), options);
    }
  }
}

}  // namespace gapless::config

// SPDX-License-Identifier: Apache-2.0
// The mutation check's hook: which enforcement of a rule a test took out of a referee
// (tests/contract/check_mutations.py).
#pragma once

#include <charconv>
#include <string_view>

namespace gapless::driver {

// `without` is a rule ("MAP-3": all its enforcements) or lines of a source file ("core.cpp:20-24": one of them). Says
// whether it names the enforcement of `rule` at `file`:`line`.
inline bool left_out(std::string_view without, std::string_view rule, std::string_view file, int line) {
  const std::size_t colon = without.find(':');
  if (colon == std::string_view::npos) return without == rule;
  const std::size_t dash = without.find('-', colon);
  if (dash == std::string_view::npos) return false;
  int first = 0;
  int last = 0;
  std::from_chars(without.data() + colon + 1, without.data() + dash, first);
  std::from_chars(without.data() + dash + 1, without.data() + without.size(), last);
  return file.ends_with(without.substr(0, colon)) && first <= line && line <= last;
}

}  // namespace gapless::driver

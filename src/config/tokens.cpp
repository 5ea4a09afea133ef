// SPDX-License-Identifier: Apache-2.0
#include "config/tokens.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <utility>

namespace gapless::config {
namespace {

constexpr const char* kOutOfBounds = "Index out of bounds in ConfigTokenizer";
constexpr const char* kNoClosingBracket = "Expected closing bracket ']' in ConfigTokenizer but reached end of config";

bool is_separator(char c) {
  return c == ',' || c == ':' || c == '[' || c == ']';
}
bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

}  // namespace

Tokens::Tokens(std::string_view text) {
  std::string word;
  const auto finish = [&] {
    if (word.empty()) return;
    tokens_.push_back(std::move(word));
    word.clear();
  };
  for (const char c : text) {
    if (is_separator(c)) {
      finish();
      tokens_.emplace_back(1, c);
    } else if (!is_space(c)) {
      word += c;
    }
  }
  finish();
}

const std::string& Tokens::at(std::size_t index) {
  static const std::string nothing;
  if (index < tokens_.size()) return tokens_[index];
  fail(kOutOfBounds);
  return nothing;
}

void Tokens::fail(std::string what) {
  if (error_.empty()) error_ = std::move(what);
}

Size Tokens::to_size(std::size_t index) {
  const std::string& token = at(index);
  if (failed()) return 0;
  char* end = nullptr;
  errno = 0;
  const auto value = std::strtoull(token.c_str(), &end, 10);
  if (end == token.c_str()) {
    fail("stoull: '" + token + "' is not a number");
  } else if (errno == ERANGE) {
    fail("stoull: '" + token + "' is too large");
  }
  return failed() ? 0 : Size{value};
}

double Tokens::to_real(std::size_t index) {
  const std::string& token = at(index);
  if (failed()) return 0;
  char* end = nullptr;
  errno = 0;
  const double value = std::strtod(token.c_str(), &end);
  if (end == token.c_str()) {
    fail("stod: '" + token + "' is not a number");
  } else if (errno == ERANGE) {
    fail("stod: '" + token + "' is out of range");
  }
  return failed() ? 0 : value;
}

bool Tokens::to_bool(std::size_t index) {
  const std::string& token = at(index);
  if (failed()) return false;
  if (token != "True" && token != "False") {
    fail("Expected 'True' or 'False' at index " + std::to_string(index) + " in ConfigTokenizer but got '" + token +
         "'");
  }
  return token == "True";
}

std::size_t Tokens::end_of_value(std::size_t key) {
  // The separator counts as read, so that its absence and the value's are told apart by nobody, as in PyTorch.
  at(key + 1);
  std::size_t i = key + 2;
  if (at(i) != "[") return i;
  while (++i < size() && tokens_[i] != "]") {
  }
  if (i >= size()) fail(kNoClosingBracket);
  return i;
}

std::size_t parse_divisions(Tokens& tokens, std::size_t key, Divisions& out) {
  auto& table = out.by_interval;
  tokens.at(key + 1);
  std::size_t i = key + 2;
  if (tokens.at(i) != "[") {
    const Size divisions = tokens.to_size(i);
    if (!tokens.failed() && !std::has_single_bit(divisions))
      tokens.fail("For roundups, the divisions has to be power of 2 ");
    if (!tokens.failed()) table.fill(divisions);
    return i;
  }

  bool first = true;
  std::size_t last = 0;
  while (!tokens.failed() && ++i < tokens.size() && !tokens.is(i, "]")) {
    const std::size_t at_boundary = i;
    i += 2;
    const Size divisions = tokens.to_size(i);
    if (!tokens.failed() && divisions != 0 && !std::has_single_bit(divisions)) {
      tokens.fail("For roundups, the divisions has to be power of 2 or 0 to disable roundup ");
    }
    if (tokens.failed()) return i;
    if (tokens.is(at_boundary, ">")) {
      std::fill(table.begin() + static_cast<std::ptrdiff_t>(std::min(last + 1, table.size())), table.end(), divisions);
    } else {
      const Size boundary = tokens.to_size(at_boundary);
      if (!tokens.failed() && !std::has_single_bit(boundary))
        tokens.fail("For roundups, the intervals have to be power of 2 ");
      if (tokens.failed()) return i;
      const auto log = static_cast<std::size_t>(std::bit_width(boundary)) - 1;
      last = std::min(log, table.size() - 1);
      // The first boundary speaks for everything below it too; later ones only for their own interval.
      if (first) std::fill(table.begin(), table.begin() + static_cast<std::ptrdiff_t>(last), divisions);
      first = false;
      table[last] = divisions;
    }
    if (tokens.at(i + 1) != "]") ++i;
  }
  if (i >= tokens.size()) tokens.fail(kNoClosingBracket);
  return i;
}

}  // namespace gapless::config

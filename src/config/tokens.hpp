// SPDX-License-Identifier: Apache-2.0
// PyTorch's configuration tokens and numbers, with their habits: separators are tokens nobody checks, white space
// vanishes even inside a word, numbers end at the first character that does not fit. Kept exactly, so that one string
// means the same to PyTorch and to gapless. The first failure sticks; later reads return empty values, so a parser may
// check once at its end.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "config/values.hpp"

namespace gapless::config {

class Tokens {
 public:
  explicit Tokens(std::string_view text);

  std::size_t size() const { return tokens_.size(); }
  // Out of range: fails.
  const std::string& at(std::size_t index);
  bool is(std::size_t index, std::string_view token) const { return index < tokens_.size() && tokens_[index] == token; }

  Size to_size(std::size_t index);    // std::stoull: "12abc" is 12, "-1" wraps
  double to_real(std::size_t index);  // std::stod
  bool to_bool(std::size_t index);    // exactly True or False

  // `key` is a key's index; returns the index of its value's last token: a single token, or the `]` that ends a list.
  std::size_t end_of_value(std::size_t key);

  // Index after which the next key stands: PyTorch steps over one token, whatever it is.
  std::size_t step_over_separator(std::size_t index) const { return index + 1 < tokens_.size() ? index + 1 : index; }

  void fail(std::string what);
  bool failed() const { return !error_.empty(); }
  const std::string& error() const { return error_; }

 private:
  std::vector<std::string> tokens_;
  std::string error_;
};

// Reads the value of a roundup_power2_divisions key at `key`; returns its last token's index. Incomplete when `tokens`
// failed.
std::size_t parse_divisions(Tokens& tokens, std::size_t key, Divisions& out);

}  // namespace gapless::config

// SPDX-License-Identifier: Apache-2.0
// "Did you mean": the known name nearest to one that is not known.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gapless::config {

// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`; case and '-' against '_' count
// nothing.
std::size_t edit_distance(std::string_view a, std::string_view b);

class Nearest {
 public:
  explicit Nearest(std::string_view name) : name_(name) {}
  void consider(std::string_view candidate);
  // Empty when nothing is near: more than a third of the name would have to change.
  std::string_view result() const { return best_; }

 private:
  std::string_view name_;
  std::string_view best_;
  std::size_t distance_ = 0;
};

// "'slak' is not an option; did you mean 'slack'?"; without a nearest name the first half.
std::string unknown_name_text(std::string_view name, std::string_view nearest);

// At most 64 bytes of `text` for a message, control characters replaced: an environment may hold anything.
std::string printable(std::string_view text);

}  // namespace gapless::config

// SPDX-License-Identifier: Apache-2.0
// Collects what a parser has to say about one source.
#pragma once

#include <string>
#include <string_view>

#include "config/load.hpp"

namespace gapless::config {

inline constexpr std::size_t kLongestText = std::size_t{64} << 10;  // bytes of one source

class Report {
 public:
  Report(std::string_view source, Messages& messages) : source_(source), messages_(messages) {}

  void error(std::string_view what) { add(Severity::error, what); }
  void note(std::string_view what) { add(Severity::note, what); }

  // Sets one option from text; a bad value is an error, a planned option a note.
  void set(const OptionInfo& option, std::string_view value, Options& options);

 private:
  // A text of thousands of bad items must not become thousands of lines in a user's log.
  static constexpr std::size_t kMost = 16;

  void add(Severity severity, std::string_view what);

  std::string_view source_;
  Messages& messages_;
  std::size_t added_ = 0;
};

}  // namespace gapless::config

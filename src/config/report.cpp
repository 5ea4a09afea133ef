// SPDX-License-Identifier: Apache-2.0
#include "config/report.hpp"

#include "config/nearest.hpp"

namespace gapless::config {

void Report::set(const OptionInfo& option, std::string_view value, Options& options) {
  const std::string name(option.name);
  if (const Problem problem = option.set(options, value); !problem.empty()) {
    error(name + ": '" + printable(value) + "' " + problem + "; it stays " + option.get(options));
  } else if (option.state == State::planned) {
    note("'" + name + "' has no effect in this version");
  }
}

void Report::add(Severity severity, std::string_view what) {
  if (added_ > kMost) return;
  if (added_++ == kMost) {
    messages_.push_back({severity, std::string(source_) + ": more of the same is not shown"});
  } else {
    messages_.push_back({severity, std::string(source_) + ": " + std::string(what)});
  }
}

}  // namespace gapless::config

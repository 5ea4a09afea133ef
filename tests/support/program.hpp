// SPDX-License-Identifier: Apache-2.0
// Random programs for an allocator, as property tests and the fuzzer make them: every sequence of words is a program,
// so that dropping or lowering words, which is how a failing case is made small, always gives another program.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/op.hpp"

namespace gapless::testing {

struct Limits {
  std::uint32_t streams = 4;
  std::uint64_t device_bytes = std::uint64_t{128} << 20;  // sizes reach a little beyond
  bool limits = true;                                     // set_limit and trim
  bool changes = true;  // streams come and go, private pools too, options are switched
};

// `free` and `record_stream` name a slot that lives; a slot is reused after its free. Ends with every block freed.
std::vector<tools::Op> decode_program(std::span<const std::uint32_t> words, const Limits& limits);

// In the format of bench/traces where it has a word for it, else as a comment: what a failing test prints.
std::string to_text(std::span<const tools::Op> ops);
// Its inverse, for programs kept in tests. Throws std::invalid_argument.
std::vector<tools::Op> from_text(std::string_view text);

}  // namespace gapless::testing

// SPDX-License-Identifier: Apache-2.0
// A recorded loop in memory. The file format is docs/trace_format.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tools/op.hpp"

namespace gapless::tools {

// what() is "FILE:LINE: reason".
class TraceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Trace {
  std::string name;                   // the file's name without folder and .trace.gz
  std::string header;                 // the JSON of line 1, without "# "; may be empty
  std::vector<std::string> labels;    // labels[kNoLabel] is ""
  std::vector<std::int32_t> streams;  // ascending, without kEveryStream
  std::vector<Op> ops;
  std::uint32_t slots = 0;  // ids of allocations are below this
  std::uint64_t allocations = 0;
  std::uint64_t frees = 0;
  std::uint64_t peak_live_bytes = 0;

  std::string_view label(const Op& op) const { return labels[op.label]; }
};

// Reads a trace, gzipped or plain. Throws TraceError when the file cannot be read, ends early or breaks the format:
// an unknown event, a malformed number, an id that lives twice, a free or record_stream of an id that does not live.
Trace read_trace(const std::string& path);

// Keeps the first `events` only; counts and the peak become those of what is left.
void truncate(Trace& trace, std::size_t events);

// A step starts at each mark whose label is neither "build" nor "end", and ends at the next mark of any label.
struct Step {
  std::size_t begin = 0;  // index into Trace::ops of the mark
  std::size_t end = 0;    // of the mark that ends it, or ops.size()
};

// What follows the last mark is a step only if that mark starts one and something is allocated there: recorders close
// their traces with a mark.
std::vector<Step> steps_of(const Trace& trace);

}  // namespace gapless::tools

// SPDX-License-Identifier: Apache-2.0
// One step of a program as an allocator sees it: what replay reads from a trace, and what property tests, fuzzers and
// benchmarks generate. Whoever adds a kind adds it here, so that a failing case of one tool runs in all others.
#pragma once

#include <cstdint>

namespace gapless::tools {

enum class OpKind : std::uint8_t {
  allocate,        // id, bytes, stream
  free,            // id
  record_stream,   // id, stream: the block is also used by work on `stream`
  synchronize,     // stream (kEveryStream: the device): the host waits
  step_mark,       // id = the mark's number, label
  phase_mark,      // label
  trim,            // bytes = physical bytes to keep
  set_limit,       // bytes = physical bytes allowed from now on
  destroy_stream,  // stream; its number names a new one from then on, which comes after it
  begin_pool,      // id: what is allocated from now on comes from that private pool
  end_pool,        // the one begun last, which lives as long as its blocks
  set_option,      // id: which (kSwitches), bytes: 1 on, 0 off
};

constexpr std::int32_t kEveryStream = -1;
constexpr std::uint16_t kNoLabel = 0;
// Options that programs switch while they run.
constexpr const char* kSwitches[] = {"lending", "step_aside", "stream_sharing"};

// 24 bytes: a trace of a million and a half events stays in the last-level cache's order of magnitude.
struct Op {
  OpKind kind = OpKind::allocate;
  std::uint16_t label = kNoLabel;  // index into Trace::labels
  std::int32_t stream = 0;
  // A slot in the caller's table of blocks, dense and reused after `free`; 0 bytes take a slot like others.
  std::uint32_t id = 0;
  // Device operations (kernels, copies) that the program issued since the op before.
  std::uint32_t device_ops = 0;
  std::uint64_t bytes = 0;

  friend bool operator==(const Op&, const Op&) = default;
};
static_assert(sizeof(Op) == 24);

// Live bytes here and everywhere in the project: each request rounded up to 512 B, PyTorch's smallest block.
constexpr std::uint64_t rounded_bytes(std::uint64_t bytes) {
  return (bytes + 511) / 512 * 512;
}

}  // namespace gapless::tools

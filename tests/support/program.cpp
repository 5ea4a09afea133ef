// SPDX-License-Identifier: Apache-2.0
#include "support/program.hpp"

#include <algorithm>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace gapless::testing {
namespace {

using tools::Op;
using tools::OpKind;

// The bits of a word, taken from the low end. Small words are small allocations on stream 0, so that lowering
// simplifies.
class Bits {
 public:
  explicit Bits(std::uint32_t word) : word_(word) {}
  std::uint32_t take(unsigned count) {
    const std::uint32_t value = word_ & ((1u << count) - 1);
    word_ >>= count;
    return value;
  }

 private:
  std::uint32_t word_;
};

// Sizes as programs ask for them: whole powers, small multiples of them, and one byte to either side of both.
std::uint64_t size_of(Bits& bits, std::uint64_t device_bytes) {
  const std::uint64_t factor = 1 + bits.take(4);
  const unsigned shift = bits.take(5) % 24;
  const std::uint32_t edge = bits.take(2);
  std::uint64_t bytes = factor << shift;
  if (edge == 1) bytes += 1;
  if (edge == 2) bytes -= 1;
  if (edge == 3) bytes += (factor << shift) / 3;
  return std::min(bytes, device_bytes + (device_bytes >> 3));
}

class Decoder {
 public:
  explicit Decoder(const Limits& limits) : limits_(limits) {}

  void word(std::uint32_t value) {
    Bits bits(value);
    const std::uint32_t kind = bits.take(4);
    const auto stream = static_cast<std::int32_t>(bits.take(3) % limits_.streams);
    if (kind < 7) return allocate(stream, bits);
    if (kind < 12) return release(bits.take(16));
    if (kind == 12) return record(bits.take(16), stream);
    if (kind == 13) {
      // Waiting for the device hides more than it shows: one time in four.
      add({.kind = OpKind::synchronize, .stream = bits.take(2) == 0 ? tools::kEveryStream : stream});
      return;
    }
    if (kind == 14) {
      add({.kind = OpKind::step_mark, .id = ++steps_});
      return;
    }
    rare(bits, stream);
  }

  std::vector<Op> finish() {
    while (!live_.empty()) release(static_cast<std::uint32_t>(live_.size() - 1));
    return std::move(ops_);
  }

 private:
  void add(const Op& op) { ops_.push_back(op); }

  void allocate(std::int32_t stream, Bits& bits) {
    std::uint32_t slot = next_slot_;
    if (spare_.empty()) {
      ++next_slot_;
    } else {
      slot = spare_.back();
      spare_.pop_back();
    }
    live_.push_back(slot);
    const std::uint64_t bytes = size_of(bits, limits_.device_bytes);
    add({.kind = OpKind::allocate, .stream = stream, .id = slot, .device_ops = bits.take(2), .bytes = bytes});
  }

  void release(std::uint32_t pick) {
    if (live_.empty()) return;
    // The newest first for small picks: lowering a word turns a program into a stack.
    const auto at = live_.end() - 1 - static_cast<std::ptrdiff_t>(pick % live_.size());
    add({.kind = OpKind::free, .id = *at});
    spare_.push_back(*at);
    live_.erase(at);
  }

  void record(std::uint32_t pick, std::int32_t stream) {
    if (live_.empty()) return;
    add({.kind = OpKind::record_stream, .stream = stream, .id = live_[pick % live_.size()]});
  }

  void rare(Bits& bits, std::int32_t stream) {
    const std::uint32_t which = bits.take(3);
    const std::uint64_t part = limits_.device_bytes / 16 * bits.take(5);  // up to about twice the device
    if (which == 0 && limits_.limits) add({.kind = OpKind::trim, .bytes = bits.take(1) == 0 ? 0 : part});
    if (which == 1 && limits_.limits) add({.kind = OpKind::set_limit, .bytes = part});
    if (which == 2) add({.kind = OpKind::phase_mark});
    if (!limits_.changes) return;
    const std::uint32_t choice = bits.take(2);
    if (which == 3) add({.kind = OpKind::destroy_stream, .stream = stream});
    if (which == 4) add({.kind = OpKind::begin_pool, .id = choice});
    if (which == 5 || which == 6) add({.kind = OpKind::end_pool});
    if (which == 7)
      add({.kind = OpKind::set_option,
           .id = choice % static_cast<std::uint32_t>(std::size(tools::kSwitches)),
           .bytes = bits.take(1)});
  }

  Limits limits_;
  std::vector<Op> ops_;
  std::vector<std::uint32_t> live_, spare_;
  std::uint32_t next_slot_ = 0, steps_ = 0;
};

}  // namespace

std::vector<tools::Op> decode_program(std::span<const std::uint32_t> words, const Limits& limits) {
  Decoder decoder(limits);
  for (const std::uint32_t word : words) decoder.word(word);
  return decoder.finish();
}

std::string to_text(std::span<const tools::Op> ops) {
  std::string text;
  for (const Op& op : ops) {
    const std::string id = std::to_string(op.id), stream = std::to_string(op.stream), bytes = std::to_string(op.bytes);
    switch (op.kind) {
      case OpKind::allocate:
        text += "a " + id + ' ' + bytes + ' ' + stream;
        if (op.device_ops > 0) text += " +" + std::to_string(op.device_ops);
        break;
      case OpKind::free:
        text += "f " + id;
        break;
      case OpKind::record_stream:
        text += "r " + id + ' ' + stream;
        break;
      case OpKind::synchronize:
        text += "y " + stream;
        break;
      case OpKind::step_mark:
        text += "s " + id + " step";
        break;
      case OpKind::phase_mark:
        text += "p phase";
        break;
      case OpKind::trim:
        text += "# trim " + bytes;
        break;
      case OpKind::set_limit:
        text += "# limit " + bytes;
        break;
      case OpKind::destroy_stream:
        text += "# destroy " + stream;
        break;
      case OpKind::begin_pool:
        text += "# pool " + id;
        break;
      case OpKind::end_pool:
        text += "# end";
        break;
      case OpKind::set_option:
        text += "# option " + id + ' ' + bytes;
        break;
    }
    text += '\n';
  }
  return text;
}

std::vector<tools::Op> from_text(std::string_view text) {
  std::vector<Op> ops;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string kind;
    if (!(words >> kind)) continue;
    if (kind == "#" && !(words >> kind)) continue;
    Op op;
    bool ok = true;
    if (kind == "a") {
      ok = static_cast<bool>(words >> op.id >> op.bytes >> op.stream);
      if (char plus = 0; words >> plus) ok = ok && plus == '+' && words >> op.device_ops;
    } else if (kind == "f") {
      op.kind = OpKind::free;
      ok = static_cast<bool>(words >> op.id);
    } else if (kind == "r") {
      op.kind = OpKind::record_stream;
      ok = static_cast<bool>(words >> op.id >> op.stream);
    } else if (kind == "y") {
      op.kind = OpKind::synchronize;
      ok = static_cast<bool>(words >> op.stream);
    } else if (kind == "s") {
      op.kind = OpKind::step_mark;
      ok = static_cast<bool>(words >> op.id);
    } else if (kind == "p") {
      op.kind = OpKind::phase_mark;
    } else if (kind == "trim" || kind == "limit") {
      op.kind = kind == "trim" ? OpKind::trim : OpKind::set_limit;
      ok = static_cast<bool>(words >> op.bytes);
    } else if (kind == "destroy") {
      op.kind = OpKind::destroy_stream;
      ok = static_cast<bool>(words >> op.stream);
    } else if (kind == "pool") {
      op.kind = OpKind::begin_pool;
      ok = static_cast<bool>(words >> op.id);
    } else if (kind == "end") {
      op.kind = OpKind::end_pool;
    } else if (kind == "option") {
      op.kind = OpKind::set_option;
      ok = words >> op.id >> op.bytes && op.id < std::size(tools::kSwitches);
    } else {
      ok = false;
    }
    if (!ok) throw std::invalid_argument("not an operation: " + line);
    ops.push_back(op);
  }
  return ops;
}

}  // namespace gapless::testing

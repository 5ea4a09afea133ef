// SPDX-License-Identifier: Apache-2.0
#include "tools/trace.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <unordered_map>

#include "tools/line_reader.hpp"

namespace gapless::tools {
namespace {

// The words of one event line, with errors that name the word.
class Words {
 public:
  Words(std::string_view rest, const LineReader& reader) : rest_(rest), reader_(reader) {}

  template <typename Number>
  Number number(const char* what) {
    skip_blanks();
    Number value{};
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    const auto length = static_cast<std::size_t>(end - rest_.data());
    if (error != std::errc{} || (length < rest_.size() && rest_[length] != ' ')) {
      reader_.fail(std::string("expected ") + what + ", found \"" + std::string(rest_.substr(0, 40)) + "\"");
    }
    rest_.remove_prefix(length);
    return value;
  }

  // "+N" at the end of the line, if there.
  std::uint32_t device_ops() {
    skip_blanks();
    if (rest_.empty() || rest_.front() != '+') return 0;
    rest_.remove_prefix(1);
    return number<std::uint32_t>("a count after '+'");
  }

  std::string_view remainder() {
    skip_blanks();
    return rest_;
  }

  void expect_end() {
    skip_blanks();
    if (!rest_.empty()) reader_.fail("unexpected \"" + std::string(rest_.substr(0, 40)) + "\" at the end");
  }

 private:
  void skip_blanks() {
    while (!rest_.empty() && rest_.front() == ' ') rest_.remove_prefix(1);
  }

  std::string_view rest_;
  const LineReader& reader_;
};

class TraceParser {
 public:
  explicit TraceParser(const std::string& path) : reader_(path) {
    trace_.labels.emplace_back();
    auto name = path.substr(path.find_last_of('/') + 1);
    trace_.name = name.substr(0, name.find(".trace"));
  }

  Trace parse() {
    std::string_view line;
    while (reader_.next(line)) {
      if (line.empty()) continue;
      if (line.front() == '#') {
        if (trace_.header.empty()) trace_.header = line.substr(std::min<std::size_t>(2, line.size()));
        continue;
      }
      if (line.size() > 1 && line[1] != ' ') reader_.fail("unknown event \"" + std::string(line.substr(0, 40)) + "\"");
      event(line.front(), Words(line.substr(1), reader_));
    }
    std::sort(trace_.streams.begin(), trace_.streams.end());
    trace_.ops.shrink_to_fit();
    return std::move(trace_);
  }

 private:
  struct Live {
    std::uint32_t slot;
    std::uint64_t bytes;
  };

  void event(char letter, Words words) {
    Op op;
    switch (letter) {
      case 'a':
        allocate(op, words);
        break;
      case 'f':
        free(op, words);
        break;
      case 'r':
        op.kind = OpKind::record_stream;
        op.id = live(words)->second.slot;
        op.stream = stream(words);
        break;
      case 'y':
        op.kind = OpKind::synchronize;
        op.stream = stream(words);
        break;
      case 's':
        op.kind = OpKind::step_mark;
        op.id = words.number<std::uint32_t>("the number of the step mark");
        op.label = label(words.remainder());
        break;
      case 'p':
        op.kind = OpKind::phase_mark;
        op.label = label(words.remainder());
        break;
      default:
        reader_.fail(std::string("unknown event '") + letter + "'");
    }
    if (letter != 's' && letter != 'p') {
      op.device_ops = words.device_ops();
      words.expect_end();
    }
    trace_.ops.push_back(op);
  }

  void allocate(Op& op, Words& words) {
    op.kind = OpKind::allocate;
    const auto id = words.number<std::uint64_t>("an id");
    op.bytes = words.number<std::uint64_t>("a size");
    op.stream = stream(words);
    if (op.stream == kEveryStream) reader_.fail("an allocation needs a stream");
    if (op.bytes > std::numeric_limits<std::uint64_t>::max() / 4) reader_.fail("size out of range");
    if (free_slots_.empty()) {
      op.id = trace_.slots++;
    } else {
      op.id = free_slots_.back();
      free_slots_.pop_back();
    }
    if (!live_.emplace(id, Live{op.id, rounded_bytes(op.bytes)}).second) {
      reader_.fail("id " + std::to_string(id) + " is allocated already");
    }
    live_bytes_ += rounded_bytes(op.bytes);
    trace_.peak_live_bytes = std::max(trace_.peak_live_bytes, live_bytes_);
    ++trace_.allocations;
  }

  void free(Op& op, Words& words) {
    op.kind = OpKind::free;
    const auto block = live(words);
    op.id = block->second.slot;
    live_bytes_ -= block->second.bytes;
    free_slots_.push_back(op.id);
    live_.erase(block);
    ++trace_.frees;
  }

  std::unordered_map<std::uint64_t, Live>::iterator live(Words& words) {
    const auto id = words.number<std::uint64_t>("an id");
    const auto found = live_.find(id);
    if (found == live_.end()) reader_.fail("id " + std::to_string(id) + " is not allocated");
    return found;
  }

  std::int32_t stream(Words& words) {
    const auto value = words.number<std::int32_t>("a stream");
    if (value < kEveryStream) reader_.fail("stream " + std::to_string(value) + " out of range");
    if (value != kEveryStream &&
        std::find(trace_.streams.begin(), trace_.streams.end(), value) == trace_.streams.end()) {
      trace_.streams.push_back(value);
    }
    return value;
  }

  std::uint16_t label(std::string_view text) {
    auto& labels = trace_.labels;
    const auto found = std::find(labels.begin(), labels.end(), text);
    if (found == labels.end()) {
      if (labels.size() > std::numeric_limits<std::uint16_t>::max()) reader_.fail("more than 65535 labels");
      labels.emplace_back(text);
      return static_cast<std::uint16_t>(labels.size() - 1);
    }
    return static_cast<std::uint16_t>(found - labels.begin());
  }

  LineReader reader_;
  Trace trace_;
  std::unordered_map<std::uint64_t, Live> live_;
  std::vector<std::uint32_t> free_slots_;
  std::uint64_t live_bytes_ = 0;
};

}  // namespace

Trace read_trace(const std::string& path) {
  return TraceParser(path).parse();
}

void truncate(Trace& trace, std::size_t events) {
  if (events < trace.ops.size()) trace.ops.resize(events);
  trace.allocations = trace.frees = trace.peak_live_bytes = 0;
  std::vector<std::uint64_t> bytes(trace.slots, 0);
  std::uint64_t live = 0;
  for (const Op& op : trace.ops) {
    if (op.kind == OpKind::allocate) {
      ++trace.allocations;
      live += bytes[op.id] = rounded_bytes(op.bytes);
      trace.peak_live_bytes = std::max(trace.peak_live_bytes, live);
    } else if (op.kind == OpKind::free) {
      ++trace.frees;
      live -= bytes[op.id];
    }
  }
}

std::vector<Step> steps_of(const Trace& trace) {
  std::vector<Step> steps;
  bool open = false;
  for (std::size_t i = 0; i < trace.ops.size(); ++i) {
    const Op& op = trace.ops[i];
    if (op.kind != OpKind::step_mark) continue;
    if (open) steps.back().end = i;
    open = trace.label(op) != "build" && trace.label(op) != "end";
    if (open) steps.push_back({i, trace.ops.size()});
  }
  if (open) {
    const auto tail = trace.ops.begin() + static_cast<std::ptrdiff_t>(steps.back().begin);
    const bool allocates = std::any_of(tail, trace.ops.end(), [](const Op& op) { return op.kind == OpKind::allocate; });
    if (!allocates) steps.pop_back();
  }
  return steps;
}

}  // namespace gapless::tools

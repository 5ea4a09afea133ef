// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/runner.hpp"

#include <ctime>

#include "tools/replay/backend.hpp"
#include "tools/replay/creator_model.hpp"
#include "tools/replay/driver_watch.hpp"
#include "tools/replay/kept_addresses.hpp"
#include "tools/replay/picture.hpp"
#include "tools/replay/sim_device.hpp"

namespace gapless::tools {
namespace {

std::unique_ptr<Backend> make_backend(const Options& options, AllocatorKind allocator) {
  if (allocator == AllocatorKind::gapless) return make_gapless_backend(options);
  return make_torch_backend(options, allocator == AllocatorKind::expandable);
}

char letter_of(OpKind kind) {
  switch (kind) {
    case OpKind::allocate:
      return 'a';
    case OpKind::free:
      return 'f';
    case OpKind::record_stream:
      return 'r';
    case OpKind::synchronize:
      return 'y';
    case OpKind::step_mark:
      return 's';
    case OpKind::phase_mark:
      return 'p';
    case OpKind::trim:
      return 't';
    case OpKind::set_limit:
      return 'l';
    case OpKind::destroy_stream:
      return 'd';
    case OpKind::begin_pool:
    case OpKind::end_pool:
    case OpKind::set_option:
      break;  // no trace has them
  }
  return '?';
}

// The driver's counters at a step mark.
struct Snapshot {
  std::size_t event;
  DriverTime time;
  std::uint64_t memory_calls;
};

double cpu_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

class Replay {
 public:
  Replay(const Trace& trace, const Options& options, AllocatorKind allocator, std::uint64_t size)
      : trace_(trace),
        options_(options),
        allocator_(allocator),
        size_(size),
        device_(options, size),
        blocks_(trace.slots) {
    if (!options.log_path.empty()) watch_.log_to(options.log_path);
    if (!options.html_path.empty()) {
      picture_ = std::make_unique<PictureRecorder>(trace.ops.size());
      watch_.keep_mappings();
    }
    device_.observe(&DriverWatch::on_call, &watch_);
    backend_ = make_backend(options, allocator);
    if (options.creator) creator_ = std::make_unique<CreatorModel>(*backend_, watch_);
  }

  ReplayResult run() {
    ReplayResult result;
    result.completed = true;
    std::size_t event = 0;
    for (; event < trace_.ops.size(); ++event) {
      const Op& op = trace_.ops[event];
      if (op.kind == OpKind::step_mark) {
        snapshot(event);
        if (trace_.label(op) == "build" || trace_.label(op) == "end") {
          kept_.end();
        } else {
          kept_.begin(op.label);
        }
      }
      const Outcome outcome = apply(op, event);
      if (picture_) picture_->sample(event, live_bytes_, device_.physical_bytes());
      if (outcome == Outcome::ok) continue;
      result.completed = false;
      result.ooms = outcome == Outcome::out_of_memory ? 1 : 0;
      result.error = "event " + std::to_string(event) + " (" + letter_of(op.kind) + ", " + std::to_string(op.bytes) +
                     " bytes): " + backend_->error();
      break;
    }
    snapshot(event);
    kept_.end();
    fill(result);
    return result;
  }

 private:
  struct Block {
    void* pointer = nullptr;
    std::uint64_t bytes = 0;
    std::int32_t stream = 0;
  };

  Outcome apply(const Op& op, std::size_t event) {
    if (op.device_ops != 0) device_.issue(op.device_ops);
    if (creator_) creator_->host_event(op.device_ops);
    switch (op.kind) {
      case OpKind::allocate:
        return allocate(op, event);
      case OpKind::free:
        return free(op, event);
      case OpKind::record_stream:
        return record_stream(op, event);
      case OpKind::synchronize:
        device_.synchronize(op.stream);
        return Outcome::ok;
      case OpKind::destroy_stream:
        device_.destroy_stream(op.stream);
        return Outcome::ok;
      default:
        break;
    }
    const Bracket bracket(watch_, event, op.kind);
    switch (op.kind) {
      case OpKind::step_mark:
        return backend_->mark_step(trace_.labels[op.label].c_str());
      case OpKind::phase_mark:
        return backend_->mark_phase(trace_.labels[op.label].c_str());
      case OpKind::trim:
        return backend_->trim(op.bytes);
      case OpKind::set_limit:
        return backend_->set_limit(op.bytes);
      default:
        return Outcome::failed;
    }
  }

  struct Bracket {
    Bracket(DriverWatch& watched, std::size_t event, OpKind kind) : watch(watched) {
      watch.begin(event, letter_of(kind));
    }
    ~Bracket() { watch.end(); }
    DriverWatch& watch;
  };

  Outcome allocate(const Op& op, std::size_t event) {
    void* const stream = device_.stream(op.stream);
    Block& block = blocks_[op.id];
    block = {nullptr, op.bytes, op.stream};
    {
      const Bracket bracket(watch_, event, op.kind);
      const Outcome outcome = backend_->allocate(op.bytes, stream, block.pointer);
      if (outcome != Outcome::ok) return outcome;
    }
    live_bytes_ += rounded_bytes(op.bytes);
    kept_.allocated(rounded_bytes(op.bytes), block.pointer);
    if (picture_) picture_->allocated(event, block.pointer, rounded_bytes(op.bytes));
    if (options_.strict && op.bytes != 0) device_.access(op.stream, block.pointer, op.bytes, true);
    return Outcome::ok;
  }

  Outcome free(const Op& op, std::size_t event) {
    Block& block = blocks_[op.id];
    live_bytes_ -= rounded_bytes(block.bytes);
    if (block.pointer == nullptr) return Outcome::ok;
    if (options_.strict) device_.access(block.stream, block.pointer, block.bytes, false);
    if (picture_) picture_->freed(event, block.pointer);
    const Bracket bracket(watch_, event, op.kind);
    return backend_->free(block.pointer);
  }

  // The trace says that another stream uses the block, not when: strict makes the use that a correct program would
  // make, ordered after the block's own stream.
  Outcome record_stream(const Op& op, std::size_t event) {
    const Block& block = blocks_[op.id];
    if (block.pointer == nullptr) return Outcome::ok;
    void* const stream = device_.stream(op.stream);
    if (options_.strict) {
      if (op.stream != block.stream) device_.order(op.stream, block.stream);
      device_.access(op.stream, block.pointer, block.bytes, false);
    }
    const Bracket bracket(watch_, event, op.kind);
    return backend_->record_stream(block.pointer, stream);
  }

  void snapshot(std::size_t event) { snapshots_.push_back({event, watch_.time(), total(memory_calls())}); }

  std::map<std::string, std::uint64_t> memory_calls() const {
    std::map<std::string, std::uint64_t> calls;
    for (const auto& [name, count] : device_.calls()) {
      if (is_memory_call(name)) calls[name] = count - watch_.refused(name);
    }
    return calls;
  }

  static std::uint64_t total(const std::map<std::string, std::uint64_t>& calls) {
    std::uint64_t sum = 0;
    for (const auto& [name, count] : calls) sum += count;
    return sum;
  }

  const Snapshot* at(std::size_t event) const {
    for (const auto& snapshot : snapshots_) {
      if (snapshot.event == event) return &snapshot;
    }
    return nullptr;
  }

  void fill(ReplayResult& result) {
    result.name = trace_.name;
    result.allocator = allocator_;
    result.size = size_;
    result.peak_live = trace_.peak_live_bytes;
    result.peak_reserved = device_.physical_bytes_peak();
    result.retries = backend_->retries();
    result.violations = device_.violations();
    result.driver_calls = memory_calls();
    watch_.end_log();
    result.event_calls = watch_.event_calls();
    result.stalls = watch_.time().stalls;
    fill_steps(result);
    if (picture_) result.picture = picture_->render(result, watch_.mappings(), steps_of(trace_));
  }

  void fill_steps(ReplayResult& result) const {
    const auto steps = steps_of(trace_);
    for (const Step& step : steps) {
      const Snapshot* begin = at(step.begin);
      const Snapshot* end = at(step.end);
      if (begin == nullptr || end == nullptr) break;  // the replay stopped before
      const DriverTime time = end->time - begin->time;
      const auto& kept = kept_.steps();
      result.steps.push_back({end->memory_calls - begin->memory_calls, time.remap_us, time.create_us,
                              result.steps.size() < kept.size() ? kept[result.steps.size()] : KeptAddresses::Share{}});
    }
    const Snapshot& last = snapshots_.back();
    const Snapshot* first_end = steps.empty() ? nullptr : at(steps.front().end);
    const DriverTime& first = first_end != nullptr ? first_end->time : last.time;
    result.first_us = first.total_us();
    result.creator_first_us = first.creator_us;
    result.with_creator = creator_ != nullptr;
    if (const Snapshot* fourth = steps.size() > 3 ? at(steps[3].begin) : nullptr) {
      result.driver_calls_steady = last.memory_calls - fourth->memory_calls;
    }
    const std::size_t half = result.steps.size() / 2;
    const auto count = static_cast<double>(result.steps.size() - half);
    for (std::size_t i = half; i < result.steps.size(); ++i) {
      result.remap_steady_us += result.steps[i].remap_us / count;
      result.create_steady_us += result.steps[i].create_us / count;
    }
  }

  const Trace& trace_;
  const Options& options_;
  AllocatorKind allocator_;
  std::uint64_t size_;
  DriverWatch watch_;
  SimDevice device_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<CreatorModel> creator_;
  std::vector<Block> blocks_;
  std::uint64_t live_bytes_ = 0;
  KeptAddresses kept_;
  std::vector<Snapshot> snapshots_;
  std::unique_ptr<PictureRecorder> picture_;
};

}  // namespace

ReplayResult replay(const Trace& trace, const Options& options, AllocatorKind allocator, std::uint64_t size) {
  return Replay(trace, options, allocator, size).run();
}

double time_pairs(const Trace& trace, const Options& options, AllocatorKind allocator, std::uint64_t size) {
  if (options.completion != "eager" && options.completion != "lag:0") return 0;
  SimDevice device(options, size);
  const auto backend = make_backend(options, allocator);
  std::vector<void*> pointers(trace.slots, nullptr);
  const auto steps = steps_of(trace);
  const std::size_t from = steps.empty() ? 0 : steps[steps.size() / 2].begin;
  std::int32_t stream_number = 0;
  void* stream = nullptr;
  std::uint64_t calls = 0;
  double elapsed = 0;
  double started = cpu_nanoseconds();
  for (std::size_t i = 0; i < trace.ops.size(); ++i) {
    const Op& op = trace.ops[i];
    if (i == from) {
      calls = 0;
      elapsed = 0;
      started = cpu_nanoseconds();
    }
    if (op.kind == OpKind::allocate || op.kind == OpKind::record_stream) {
      // Looked up only when it changes: the table is this tool's, not the allocator's.
      if (op.stream != stream_number) {
        stream_number = op.stream;
        stream = device.stream(op.stream);
      }
    }
    switch (op.kind) {
      case OpKind::allocate:
        if (backend->allocate(op.bytes, stream, pointers[op.id]) != Outcome::ok) return 0;
        ++calls;
        break;
      case OpKind::free:
        if (pointers[op.id] != nullptr) backend->free(pointers[op.id]);
        pointers[op.id] = nullptr;
        ++calls;
        break;
      case OpKind::record_stream:
        if (pointers[op.id] != nullptr) backend->record_stream(pointers[op.id], stream);
        break;
      case OpKind::synchronize:
        elapsed += cpu_nanoseconds() - started;
        device.synchronize(op.stream);
        started = cpu_nanoseconds();
        break;
      default:
        break;
    }
  }
  elapsed += cpu_nanoseconds() - started;
  return calls == 0 ? 0 : elapsed * 2 / static_cast<double>(calls);
}

}  // namespace gapless::tools

// SPDX-License-Identifier: Apache-2.0
#include "support/session.hpp"

#include <gapless/gapless.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string_view>

#include "config/load.hpp"
#include "driver/sim/sim_driver.hpp"
#include "policy/rounding.hpp"
#include "support/device_work.hpp"
#include "support/model.hpp"
#include "support/open_allocator.hpp"

namespace gapless::testing {
namespace {

using tools::Op;
using tools::OpKind;

constexpr std::int32_t kDevice = 0;
constexpr gapless_pool_id kDefaultPool = {0, 0};

struct Problem {
  std::string text;
};

void require(bool condition, const std::string& text) {
  if (!condition) throw Problem{text};
}

std::string status_text(gapless_status status) {
  return std::string(gapless_status_name(status)) + " (" + gapless_last_error() + ")";
}

std::string expected(const char* what, std::uint64_t is, std::uint64_t should) {
  return std::string(what) + " is " + std::to_string(is) + ", should be " + std::to_string(should);
}

class Session {
 public:
  explicit Session(const Scenario& scenario, std::span<const Op> ops)
      : scenario_(scenario),
        machine_(scenario.device),
        driver_(driver::sim::make_sim_driver(machine_)),
        faults_(*driver_),
        work_(machine_, stream_count(ops)),
        options_(config::load_options(nullptr, scenario.options.c_str(), nullptr).options),
        model_(granule(machine_, options_)) {
    for (const auto& rule : scenario.faults) faults_.add(rule);
    allocator_ = open_allocator(faults_, scenario.options);
    require(allocator_ != nullptr, std::string("open failed: ") + gapless_last_error());
  }

  void step(const Op& op) {
    switch (op.kind) {
      case OpKind::allocate:
        return allocate(op);
      case OpKind::free:
        return release(op);
      case OpKind::record_stream:
        return record(op);
      case OpKind::synchronize:
        return work_.synchronize(op.stream);
      case OpKind::step_mark:
        return accept(gapless_mark_step(allocator_, kDevice, "step", op.id), false, "mark_step");
      case OpKind::phase_mark:
        return accept(gapless_mark_phase(allocator_, kDevice, "phase"), false, "mark_phase");
      case OpKind::trim:
        return trim(op.bytes);
      case OpKind::set_limit:
        return set_limit(op.bytes);
      case OpKind::destroy_stream:
        return destroy_stream(op.stream);
      case OpKind::begin_pool:
        return begin_pool({0, op.id + 1});
      case OpKind::end_pool:
        return end_pool();
      case OpKind::set_option:
        return accept(gapless_set_option(allocator_, tools::kSwitches[op.id], value_of(op)), false, "set_option");
    }
  }

  void create_ahead() {
    for (std::int32_t made = 1; made != 0;) {
      made = 0;
      accept(gapless_create_ahead(allocator_, kDevice, &made), false, "create_ahead");
      require(made == 0 || machine_.physical_bytes(kDevice) <= limit_, "a handle was made beyond the limit");
    }
  }

  void check_counters() {
    const gapless_stats stats = get_stats();
    const auto current = [](const gapless_stat& stat) { return static_cast<std::uint64_t>(stat.current); };
    const auto equal = [&](const gapless_stat* stat, const char* what, std::uint64_t should) {
      require(current(stat[GAPLESS_ALL]) == should, expected(what, current(stat[GAPLESS_ALL]), should));
      require(current(stat[GAPLESS_SMALL_POOL]) + current(stat[GAPLESS_LARGE_POOL]) == should,
              std::string(what) + ": the two pools do not add up");
    };
    equal(stats.allocated_bytes, "allocated_bytes", model_.live_bytes());
    equal(stats.requested_bytes, "requested_bytes", model_.requested_bytes());
    equal(stats.allocation, "allocation", model_.by_address().size());
    equal(stats.reserved_bytes, "reserved_bytes", machine_.physical_bytes(kDevice));
    require(current(stats.active_bytes[0]) >= model_.live_bytes(), "active_bytes is below allocated_bytes");
    require(current(stats.active_bytes[0]) <= current(stats.reserved_bytes[0]), "active_bytes is above reserved_bytes");
    if (const auto found = machine_.violations(); !found.empty()) {
      throw Problem{std::string("violation ") + found.front().rule + ": " + found.front().text};
    }
  }

  void validate() {
    check_counters();
    for (const auto& [address, block] : model_.by_address()) require_mapped(block);
    require_snapshot();
    const std::string broken = broken_invariant(allocator_);
    require(broken.empty(), "broken invariant " + broken);
  }

  void finish() {
    while (!open_pools_.empty()) end_pool();
    outcome_.memory_calls = faults_.memory_calls();
    outcome_.injected = faults_.injected();
    faults_.clear();
    if (!model_.by_address().empty()) {
      require(gapless_close(allocator_) == GAPLESS_ERROR_BUSY, "close with live blocks did not answer BUSY");
    }
    while (!owner_.empty()) release({.kind = OpKind::free, .id = owner_.begin()->first});
    trim(0);
    require(machine_.physical_bytes(kDevice) == 0,
            expected("physical bytes after the last trim", machine_.physical_bytes(kDevice), 0));
    validate();
    const gapless_status status = gapless_close(allocator_);
    require(status == GAPLESS_OK, "close: " + status_text(status));
    require(machine_.physical_bytes(kDevice) == 0, "physical memory is left after close");
    require(machine_.calls("cuMemAddressReserve") == machine_.calls("cuMemAddressFree"),
            "address space is left after close");
    require(machine_.calls("cuEventCreate") == machine_.calls("cuEventDestroy"), "events are left after close");
    require(machine_.violation_count() == 0, "violations while closing");
  }

  const Outcome& outcome() const { return outcome_; }

 private:
  static std::uint32_t stream_count(std::span<const Op> ops) {
    std::int32_t most = 0;
    for (const Op& op : ops) most = std::max(most, op.stream);
    return static_cast<std::uint32_t>(most) + 1;
  }

  static std::uint64_t granule(driver::sim::Machine& machine, const config::Options& options) {
    if (options.granule != 0) return options.granule;
    driver::DeviceInfo info;
    machine.device_info(kDevice, info);
    return info.granularity;
  }

  gapless_stats get_stats() {
    gapless_stats stats = GAPLESS_STRUCT(gapless_stats);
    const gapless_status status = gapless_get_stats(allocator_, kDevice, &stats);
    require(status == GAPLESS_OK, "get_stats: " + status_text(status));
    return stats;
  }

  // Driver errors are answers only while faults are injected.
  void accept(gapless_status status, bool oom_allowed, const char* what) {
    if (status == GAPLESS_OK) return;
    const bool faulty = faults_.injected() > 0;
    if (status == GAPLESS_ERROR_OUT_OF_MEMORY && (oom_allowed || faulty)) return;
    // While nobody can tell whether a stream captures, it must be taken as capturing.
    if ((status == GAPLESS_ERROR_DRIVER || status == GAPLESS_ERROR_IN_CAPTURE) && faulty) {
      ++outcome_.driver_errors;
      return;
    }
    throw Problem{std::string(what) + ": " + status_text(status)};
  }

  void allocate(const Op& op) {
    ++outcome_.allocations;
    work_.unrelated(op.stream, op.device_ops);
    const std::uint64_t before = machine_.physical_bytes(kDevice);
    void* pointer = nullptr;
    const gapless_status status = gapless_allocate(allocator_, kDevice, work_.stream(op.stream), op.bytes, &pointer);
    accept(status, true, "allocate");
    if (status != GAPLESS_OK) {
      require(pointer == nullptr, "a failed allocation wrote its output");
      return failed(op, status);
    }
    require(machine_.physical_bytes(kDevice) <= std::max(before, limit_), "an allocation went beyond the limit");
    if (op.bytes == 0) return require(pointer == nullptr, "0 bytes have an address");

    gapless_block_info info = GAPLESS_STRUCT(gapless_block_info);
    require(gapless_block_of(allocator_, pointer, &info) == GAPLESS_OK, "a new block is unknown");
    const Block block{reinterpret_cast<std::uintptr_t>(pointer), op.bytes, info.bytes};
    if (const auto wrong = model_.allocated(op.id, block)) throw Problem{*wrong};
    require(block.rounded == policy::round_size(op.bytes, options_.roundup_power2_divisions),
            "block size is not the rounded request");
    require(info.address == pointer && info.requested_bytes == op.bytes, "block_of disagrees with allocate");
    owner_[op.id] = op.stream;
    require_mapped(block);
    work_.write(op.stream, block.address, block.rounded);
  }

  void failed(const Op& op, gapless_status status) {
    if (status != GAPLESS_ERROR_OUT_OF_MEMORY) return;
    ++outcome_.ooms;
    if (!scenario_.check_promise || !scenario_.faults.empty()) return;
    const std::uint64_t device = scenario_.device.size - scenario_.device.other;
    if (op.bytes > policy::kLargestRequest) return;
    const std::uint64_t rounded = policy::round_size(op.bytes, options_.roundup_power2_divisions);
    require(model_.may_fail(rounded, std::min(limit_, device)),
            "out of memory for " + std::to_string(rounded) + " bytes although they fit: " +
                std::to_string(model_.live_granules()) + " granules hold live bytes of " +
                std::to_string(std::min(limit_, device) / model_.granule()) + " to be had");
  }

  void release(const Op& op) {
    const Block* block = model_.find(op.id);
    if (block == nullptr) return;  // its allocation failed, or it had 0 bytes
    const gapless_status status = gapless_deallocate(allocator_, reinterpret_cast<void*>(block->address));
    require(status == GAPLESS_OK, "deallocate: " + status_text(status));
    model_.freed(op.id);
    owner_.erase(op.id);
  }

  void record(const Op& op) {
    const Block* block = model_.find(op.id);
    if (block == nullptr) return;
    const gapless_status status =
        gapless_record_stream(allocator_, reinterpret_cast<void*>(block->address), work_.stream(op.stream));
    accept(status, false, "record_stream");
    if (status == GAPLESS_OK) work_.read_from(op.stream, owner_.at(op.id), block->address, block->rounded);
  }

  void destroy_stream(std::int32_t stream) {
    if (stream == 0) return;  // the default stream is always there
    const gapless_status status = gapless_forget_stream(allocator_, kDevice, work_.stream(stream));
    accept(status, false, "forget_stream");
    if (status == GAPLESS_OK) work_.replace(stream);
  }

  void begin_pool(gapless_pool_id pool) {
    const auto everything = [](void*, gapless_stream) -> std::int32_t { return 1; };
    const gapless_status status = gapless_pool_begin(allocator_, kDevice, pool, everything, nullptr, nullptr);
    accept(status, false, "pool_begin");
    if (status != GAPLESS_OK) return;
    open_pools_.push_back(pool);
    pools_.insert(pool.low);
  }

  void end_pool() {
    if (open_pools_.empty()) return;
    const gapless_pool_id pool = open_pools_.back();
    open_pools_.pop_back();
    accept(gapless_pool_end(allocator_, kDevice, pool), false, "pool_end");
    accept(gapless_pool_release(allocator_, kDevice, pool), false, "pool_release");
  }

  // stream_sharing has three values, the others two.
  static const char* value_of(const Op& op) {
    if (std::string_view(tools::kSwitches[op.id]) == "stream_sharing") return op.bytes != 0 ? "on" : "off";
    return op.bytes != 0 ? "true" : "false";
  }

  void set_limit(std::uint64_t bytes) {
    const gapless_status status = gapless_set_limit(allocator_, kDevice, bytes);
    accept(status, false, "set_limit");
    if (status == GAPLESS_OK) limit_ = bytes;
  }

  void trim(std::uint64_t keep) {
    const std::uint64_t before = machine_.physical_bytes(kDevice);
    std::size_t released = 0;
    const gapless_status status = gapless_trim(allocator_, kDevice, kDefaultPool, keep, &released);
    accept(status, false, "trim");
    bool all = status == GAPLESS_OK;
    // Those whose last block is gone are gone too.
    for (const std::uint64_t pool : pools_) {
      std::size_t more = 0;
      const gapless_status its = gapless_trim(allocator_, kDevice, {0, pool}, keep, &more);
      if (its == GAPLESS_ERROR_NOT_FOUND) continue;
      accept(its, false, "trim of a pool");
      all = all && its == GAPLESS_OK;
      released += more;
    }
    const std::uint64_t after = machine_.physical_bytes(kDevice);
    require(after <= before, "a trim made physical memory");
    if (!all) return;
    require(before - after == released, expected("trim: released", released, before - after));
    const std::uint64_t most = std::max(keep, model_.live_granules() * model_.granule());
    require(after <= std::max(most, std::uint64_t{0}), expected("physical bytes after a trim", after, most));
  }

  void require_mapped(const Block& block) {
    using driver::sim::MemoryKind;
    const std::uint64_t granule = model_.granule();
    for (std::uint64_t at = block.address / granule * granule; at < block.end(); at += granule) {
      driver::sim::Machine::Permission permission{};
      const bool ok = machine_.find(at).kind == MemoryKind::mapped &&
                      machine_.get_access(at, kDevice, permission) == driver::Result::ok &&
                      permission == driver::sim::Machine::Permission::read_write;
      require(ok, "a live block lies on memory that is not mapped or not accessible");
    }
  }

  // The walk shows each live block once, at its place, and tiles each segment.
  void require_snapshot() {
    struct Walk {
      const Model* model;
      std::uint64_t next = 0, end = 0, allocated = 0, segments = 0;
      std::string wrong;
    } walk{&model_, 0, 0, 0, 0, {}};
    gapless_snapshot_visitor visitor = GAPLESS_STRUCT(gapless_snapshot_visitor);
    visitor.user = &walk;
    visitor.on_segment = [](void* user, const gapless_segment_view* segment) -> std::int32_t {
      auto& w = *static_cast<Walk*>(user);
      if (w.next != w.end) w.wrong = "blocks do not fill their segment";
      w.next = segment->address;
      if (w.next < w.end) w.wrong = "segments are not in order";
      w.end = w.next + segment->bytes;
      w.segments += segment->bytes;
      return 0;
    };
    visitor.on_block = [](void* user, const gapless_block_view* block) -> std::int32_t {
      auto& w = *static_cast<Walk*>(user);
      const std::uint64_t address = block->address;
      if (address != w.next) w.wrong = "blocks do not follow each other";
      w.next = address + block->bytes;
      if (block->state != GAPLESS_BLOCK_ALLOCATED) return 0;
      ++w.allocated;
      const auto& live = w.model->by_address();
      const auto found = live.find(address);
      if (found == live.end() || found->second.requested != block->requested_bytes)
        w.wrong = "a block is shown that does not live";
      return 0;
    };
    const gapless_status status = gapless_walk_snapshot(allocator_, kDevice, nullptr, &visitor);
    require(status == GAPLESS_OK, "walk_snapshot: " + status_text(status));
    require(walk.wrong.empty() && walk.next == walk.end, "snapshot: " + walk.wrong);
    require(walk.allocated == model_.by_address().size(),
            expected("snapshot: allocated blocks", walk.allocated, model_.by_address().size()));
  }

  Scenario scenario_;
  driver::sim::Machine machine_;
  std::unique_ptr<driver::DriverOps> driver_;
  driver::FaultDriver faults_;
  DeviceWork work_;
  config::Options options_;
  Model model_;
  gapless_allocator* allocator_ = nullptr;
  std::map<std::uint32_t, std::int32_t> owner_;
  std::vector<gapless_pool_id> open_pools_;  // scopes, the innermost last
  std::set<std::uint64_t> pools_;            // that ever were
  std::uint64_t limit_ = ~std::uint64_t{0};
  Outcome outcome_;
};

}  // namespace

Outcome run_program(const Scenario& scenario, std::span<const Op> ops) {
  std::unique_ptr<Session> session;
  std::size_t at = 0;
  std::optional<std::string> problem;
  try {
    session = std::make_unique<Session>(scenario, ops);
    for (; at < ops.size(); ++at) {
      session->step(ops[at]);
      if (scenario.create_ahead) session->create_ahead();
      session->check_counters();
      if (scenario.validate_every > 0 && at % scenario.validate_every == 0) session->validate();
    }
    session->finish();
  } catch (const Problem& found) {
    problem = "operation " + std::to_string(at) + " of " + std::to_string(ops.size()) + ": " + found.text;
  }
  Outcome outcome = session != nullptr ? session->outcome() : Outcome{};
  outcome.problem = problem;
  return outcome;
}

}  // namespace gapless::testing

// SPDX-License-Identifier: Apache-2.0
// Debug mode (option `guard`): a red zone behind each block, freed memory poisoned and kept back for a while, both
// looked at before the memory goes to the engine. It stands between the C ABI and the engine, whose hit path knows
// nothing of it.
//
// What is kept back stays live for the engine: its granules do not move, so what is found there was written to it.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "base/lock.hpp"
#include "guard/block.hpp"
#include "guard/history.hpp"
#include "guard/patterns.hpp"

namespace gapless::guard {

class Guard {
 public:
  // `quarantine`: bytes of freed memory kept back on each device. Errors: UNSUPPORTED (no kernels).
  static Status open(engine::Allocator& allocator, std::uint64_t quarantine, std::unique_ptr<Guard>& out);

  // ---- in place of the engine's; any thread
  Status allocate(int device, driver::Stream stream, std::uint64_t bytes, void** out);
  Status deallocate(void* pointer);
  void note_use(void* pointer, driver::Stream stream);
  void forget_stream(int device, driver::Stream stream);

  // Waits for the device, unless a stream captures; looks at every red zone and at all that is kept back. `found`:
  // since the allocator was opened. Errors, where not all could be looked at: DRIVER, those of an
  // allocation, BUSY (another thread restores a pool).
  Status check(int device, std::uint64_t& found);
  // Looks at what is kept back and lets it go. True: there was some.
  bool flush(int device);
  // The same, and nothing of the guard's own stays live: what the engine has is what the program has.
  void withdraw(int device);

  // While it lives the guard gives no block of the device to the engine, so that what is looked at stays mapped, and
  // nobody else looks at or takes any. Waits until no other thread has one. A thread that has one gets no second one:
  // it comes back here where an allocation of the guard's runs out of memory.
  class Hold {
   public:
    Hold(Guard& guard, int device);
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    explicit operator bool() const { return mine_; }

   private:
    Guard& guard_;
    const int device_;
    bool mine_ = false;
  };
  // The engine has freed the blocks at these addresses itself. Under a Hold that began before.
  void forget(int device, std::span<const std::uint64_t> addresses);
  // All of it, and the guard's own memory.
  Status close();

  void set_hook(gapless_guard_hook hook, void* user);
  base::LeafLock& lock() { return lock_; }  // around fork()
  void after_fork(bool child) {
    if (!child) return;
    // The child may not call the driver: from now on blocks are the engine's alone. Who held them does not exist here.
    passing_.store(true);
    for (auto& [device, quarantine] : quarantines_) quarantine.holder = {};
  }

 private:
  struct Quarantine {
    std::deque<Block> blocks;
    std::uint64_t bytes = 0;
    std::thread::id holder;  // has a Hold
  };
  struct Finding {
    gapless_guard_finding what;
    std::uint64_t number;
  };
  using Findings = std::vector<Finding>;

  Guard(engine::Allocator& allocator, const constant::KernelsLibrary& kernels, std::uint64_t quarantine)
      : allocator_(allocator), patterns_(allocator, kernels), most_(quarantine) {}

  Status reach(int device, driver::Stream stream, bool& reachable);
  bool reachable(int device, driver::Stream stream);
  bool order_after_uses(const Block& block);
  std::uint64_t step_of(int device);
  Status wait(int device);
  std::vector<Block> take_oldest(int device, std::uint64_t keep);
  std::vector<Block> take_surplus(int device);
  void let_go(std::vector<Block> blocks);
  // `ours`: no other thread can reach them. The first failure is returned, after a look at the rest.
  Status inspect_all(const std::vector<Block>& blocks, bool ours, Findings& findings);
  Status inspect(const std::vector<const Block*>& blocks, bool ours, Findings& findings);
  bool is_there(const Block& block);
  void note(const Block& block, gapless_guard_kind kind, const gapless_guard_range& range,
            const gapless_guard_report& seen, bool ours, Findings& findings);
  void tell(const Findings& findings);

  engine::Allocator& allocator_;
  Patterns patterns_;
  const std::uint64_t most_;
  std::atomic<bool> passing_{false};
  base::LeafLock lock_;  // the members below
  std::map<std::uint64_t, Block> live_;
  std::map<int, Quarantine> quarantines_;
  History history_;
  std::map<std::uint64_t, unsigned> told_;  // what was reported of blocks that are still here, by allocation
  std::uint64_t allocations_ = 0;
  std::uint64_t found_ = 0;
  gapless_guard_hook hook_ = nullptr;
  void* hook_user_ = nullptr;
};

}  // namespace gapless::guard

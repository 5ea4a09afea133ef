// SPDX-License-Identifier: Apache-2.0
// A process that shares memory: an allocator on a machine of its own. It shares nothing with another one but the socket
// and the descriptors.
#pragma once

#include <gtest/gtest.h>

#include <dirent.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <thread>

#include "base/units.hpp"
#include "capi/handle.hpp"
#include "capi/ipc_wire.hpp"
#include "driver/fault_driver.hpp"
#include "driver/sim/sim_driver.hpp"
#include "fixture.hpp"

namespace gapless::engine {

using HandleBytes = std::array<unsigned char, sizeof(capi::IpcHandle)>;

inline std::size_t open_files() {
  std::size_t count = 0;
  DIR* const folder = ::opendir("/proc/self/fd");
  while (::readdir(folder) != nullptr) count++;
  ::closedir(folder);
  return count;
}

// The server sees that connections are over when it next runs, which a busy machine puts off.
inline bool open_files_fall_to(std::size_t most) {
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (open_files() > most && std::chrono::steady_clock::now() < patience) std::this_thread::yield();
  return open_files() <= most;
}

struct Process {
  Process() {
    driver::sim::Config config;
    config.size = 4 * kGiB;
    config.strict = true;
    config.data = true;
    config.fixed_base = false;
    config.va = 64 * kGiB;
    machine = std::make_unique<driver::sim::Machine>(config);
    sim = driver::sim::make_sim_driver(*machine);
    faults = std::make_unique<driver::FaultDriver>(*sim);
    EXPECT_EQ(capi::open_with_driver(std::make_unique<Chain>(*faults), {}, &allocator), GAPLESS_OK);
  }
  ~Process() {
    faults->clear();
    EXPECT_EQ(gapless_close(allocator), GAPLESS_OK) << gapless_last_error();
    EXPECT_EQ(machine->physical_bytes(0), 0u);
    EXPECT_EQ(machine->violation_count(), 0u) << machine->violations().front().text;
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void* allocate(std::size_t bytes) {
    void* out = nullptr;
    EXPECT_EQ(gapless_allocate(allocator, 0, nullptr, bytes, &out), GAPLESS_OK) << gapless_last_error();
    return out;
  }
  void free(void* block) { EXPECT_EQ(gapless_deallocate(allocator, block), GAPLESS_OK) << gapless_last_error(); }
  gapless_status share(void* pointer, HandleBytes& handle, std::size_t& offset) {
    std::size_t length = 0;
    const gapless_status status =
        gapless_ipc_export(allocator, pointer, handle.data(), handle.size(), &length, &offset);
    EXPECT_TRUE(status != GAPLESS_OK || length == handle.size());
    return status;
  }
  gapless_status import(const HandleBytes& handle, char*& base) {
    void* out = nullptr;
    const gapless_status status = gapless_ipc_import(allocator, 0, handle.data(), handle.size(), &out);
    base = static_cast<char*>(out);
    return status;
  }
  char* bytes_of(void* address, std::size_t length) {
    return static_cast<char*>(machine->translate(reinterpret_cast<driver::Address>(address), length));
  }
  std::int64_t pinned() {
    gapless_stats stats = GAPLESS_STRUCT(gapless_stats);
    EXPECT_EQ(gapless_get_stats(allocator, 0, &stats), GAPLESS_OK);
    return stats.pinned_bytes;
  }
  void trim() {
    std::size_t released = 0;
    EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_OK) << gapless_last_error();
  }

  std::unique_ptr<driver::sim::Machine> machine;
  std::unique_ptr<driver::DriverOps> sim;
  std::unique_ptr<driver::FaultDriver> faults;
  gapless_allocator* allocator = nullptr;
};

}  // namespace gapless::engine

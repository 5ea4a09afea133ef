// SPDX-License-Identifier: Apache-2.0
#include "driver/sim/host_bytes.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

#include "driver/sim/types.hpp"

namespace gapless::driver::sim {
namespace {

void* host(Address at) {
  return reinterpret_cast<void*>(at);
}

}  // namespace

// The file offers as many bytes as there are addresses: places never run out before addresses do. Place 0 means none.
HostBytes::HostBytes(const Config& config) : base_(kVaBase), bytes_(config.va), places_(kGranule, config.va) {
  if (!config.reserve_host_va && !config.data) return;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (config.fixed_base ? MAP_FIXED_NOREPLACE : 0);
  // Without the fixed base the kernel's choice is only page-aligned: room to align it.
  const std::uint64_t ask = config.fixed_base ? bytes_ : bytes_ + kGranule;
  void* at = ::mmap(config.fixed_base ? host(kVaBase) : nullptr, ask, PROT_NONE, flags, -1, 0);
  if (at == MAP_FAILED || (config.fixed_base && at != host(kVaBase))) {
    throw std::runtime_error("the simulated device cannot reserve its addresses: " + std::string(std::strerror(errno)));
  }
  base_ = round_up(reinterpret_cast<Address>(at), kGranule);
  reserved_ = true;
  if (!config.data) return;
  file_ = ::memfd_create("gapless-sim", MFD_CLOEXEC);
  if (file_ < 0 || ::ftruncate(file_, static_cast<off_t>(bytes_ + kGranule)) != 0) {
    throw std::runtime_error("the simulated device has no memory file: " + std::string(std::strerror(errno)));
  }
}

HostBytes::~HostBytes() {
  if (reserved_) ::munmap(host(base_), bytes_);
  if (file_ >= 0) ::close(file_);
}

std::uint64_t HostBytes::place(std::uint64_t bytes) {
  return data() ? places_.take(round_up(bytes, kGranule), kGranule) : 0;
}

void HostBytes::drop(std::uint64_t place, std::uint64_t bytes) {
  if (!data()) return;
  bytes = round_up(bytes, kGranule);
  ::fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(place), static_cast<off_t>(bytes));
  places_.give(place, bytes);
}

bool HostBytes::show(Address at, std::uint64_t bytes, std::uint64_t place, int other_file) {
  if (!data()) return true;
  constexpr std::uint64_t kPage = 4096;
  void* shown = ::mmap(host(at), round_up(bytes, kPage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                       other_file >= 0 ? other_file : file_, static_cast<off_t>(place));
  return shown != MAP_FAILED;
}

void HostBytes::hide(Address at, std::uint64_t bytes) {
  if (!data()) return;
  constexpr std::uint64_t kPage = 4096;
  ::mmap(host(at), round_up(bytes, kPage), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

}  // namespace gapless::driver::sim

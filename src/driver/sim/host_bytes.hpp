// SPDX-License-Identifier: Apache-2.0
// The host side of device addresses. Always: a PROT_NONE reservation, so that nothing else of the process gets these
// addresses and a host dereference of a device pointer faults, as it would on a machine with a GPU. With data: each
// mapping is a window into a sparse memfd, the machine's own or that of the machine whose memory it is, so that all
// addresses of one allocation show the same bytes.
#pragma once

#include <cstdint>

#include "driver/sim/address_space.hpp"
#include "driver/sim/config.hpp"

namespace gapless::driver::sim {

class HostBytes {
 public:
  // Throws std::runtime_error where the reservation is refused.
  explicit HostBytes(const Config& config);
  ~HostBytes();
  HostBytes(const HostBytes&) = delete;
  HostBytes& operator=(const HostBytes&) = delete;

  Address base() const { return base_; }
  bool data() const { return file_ >= 0; }
  int file() const { return file_; }

  // A place in the file for a physical allocation; 0 without data. Bytes of a place read as zero when it is new.
  std::uint64_t place(std::uint64_t bytes);
  void drop(std::uint64_t place, std::uint64_t bytes);
  // Shows [place, place + bytes) of our file, or of another machine's, at `at`. False where the kernel has no room for
  // another mapping.
  bool show(Address at, std::uint64_t bytes, std::uint64_t place, int other_file = -1);
  void hide(Address at, std::uint64_t bytes);

 private:
  Address base_ = 0;
  std::uint64_t bytes_ = 0;
  bool reserved_ = false;
  int file_ = -1;
  AddressSpace places_;
};

}  // namespace gapless::driver::sim

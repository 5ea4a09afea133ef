// SPDX-License-Identifier: Apache-2.0
// Patterns written to and compared with device memory, by the kernels; in stream order, captures elsewhere unharmed.
#pragma once

#include <map>
#include <mutex>
#include <span>

#include "base/lock.hpp"
#include "constant/kernels_library.hpp"
#include "engine/allocator.hpp"

namespace gapless::guard {

class Patterns {
 public:
  Patterns(engine::Allocator& allocator, const constant::KernelsLibrary& kernels)
      : allocator_(allocator), kernels_(kernels) {}

  // Room on the device for the kernels' answer: beforehand, since a compare() that finds none makes it, and may be
  // there because memory has run out. With no lock held.
  Status make_room(int device, driver::Stream stream);
  // Gives it back; the next compare() makes it anew.
  Status give_room_back(int device);
  // Enqueues; nothing waits.
  Status fill(int device, driver::Stream stream, std::span<const gapless_guard_range> ranges);
  // Waits for `stream`. All the ranges together: the lowest broken address, and how many bytes are.
  Status compare(int device, driver::Stream stream, std::span<const gapless_guard_range> ranges,
                 gapless_guard_report& out);
  // The byte at an address, after a compare on that stream.
  Status read(int device, driver::Stream stream, std::uint64_t address, std::uint8_t& out);
  std::uint8_t expected(std::uint64_t address, std::uint64_t seed) const { return kernels_.guard_byte(address, seed); }
  // Gives all back. Nobody is in another call.
  Status close();

 private:
  gapless_guard_report* room_of(int device);
  // Bytes of the device, when `stream` has come to them. Its device is current.
  Status bring(int device, driver::Stream stream, void* to, const void* from, std::size_t bytes);

  engine::Allocator& allocator_;
  const constant::KernelsLibrary& kernels_;
  base::LeafLock lock_;                         // the map
  std::map<int, gapless_guard_report*> rooms_;  // by device
  std::mutex one_compare_;  // at a time: they share the room. Held while it waits; nothing of the engine's is called.
};

}  // namespace gapless::guard

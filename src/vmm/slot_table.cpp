// SPDX-License-Identifier: Apache-2.0
#include "vmm/slot_table.hpp"

namespace gapless::vmm {

bool SlotTable::add_span(Units first, Units limit, driver::Address base) {
  const std::uint32_t end = ((limit.count() - 1) >> slot_shift_) + 1;
  const std::size_t words = end / 64 + 1;
  const std::uint32_t last_chunk = (limit.count() - 1) >> chunk_shift_;
  if (!active_.grow_to(end) || !mapped_.grow_to(end) || !last_use_.grow_to(end) || !ok_.grow_to(words) ||
      !no_access_.grow_to(words) || !pinned_.grow_to(words) || !biases_.grow_to(std::size_t{last_chunk} + 1))
    return false;
  for (std::uint32_t chunk = first.count() >> chunk_shift_; chunk <= last_chunk; chunk++)
    biases_[chunk] = base - first.bytes();
  if (end > slots_) slots_ = end;
  return true;
}

bool SlotTable::backed_range(std::uint32_t first, std::uint32_t last) const {
  const std::uint32_t first_word = first >> 6;
  const std::uint32_t last_word = last >> 6;
  const std::uint64_t head = ~std::uint64_t{0} << (first & 63);
  const std::uint64_t tail = ~std::uint64_t{0} >> (63 - (last & 63));
  if (first_word == last_word) return (~ok_[first_word] & head & tail) == 0;
  if ((~ok_[first_word] & head) != 0 || (~ok_[last_word] & tail) != 0) return false;
  for (std::uint32_t word = first_word + 1; word < last_word; word++)
    if (~ok_[word] != 0) return false;
  return true;
}

}  // namespace gapless::vmm

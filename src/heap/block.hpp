// SPDX-License-Identifier: Apache-2.0
// The record of one block, and the pool that all heaps of a device take records from.
#pragma once

#include <cstdint>

#include "base/flat_array.hpp"
#include "base/units.hpp"

namespace gapless::heap {

// Index of a block's record. 0 is a dummy that links may be written through, so that list code needs no branch.
using BlockId = std::uint32_t;
inline constexpr BlockId kNoBlock = 0;

enum class BlockState : std::uint8_t { free = 0, live = 1, pending = 2 };

// What makes freeing a block more than coalescing it.
enum BlockFlag : std::uint8_t {
  kUsed = 1,    // other streams use it: those of BlockNote::uses
  kLent = 2,    // it lies in another stream's heap: the first of its uses is the stream that it was handed to
  kCookie = 4,  // its BlockNote holds a cookie
  kShared = 8,  // several streams share its heap: BlockNote::member is the one that it was handed to
};

// Which of the streams that share a heap.
using MemberId = std::uint8_t;
inline constexpr MemberId kNoMember = 255;

// 32 bytes: two to a cache line. Links and sizes are 32 bit, in units of 512 bytes.
struct Block {
  Units offset;
  Units size;
  BlockId prev;  // by address; a block's neighbours lie in its span
  BlockId next;
  // In the free list while free. While not free the two words hold the requested bytes, low word first: they would lie
  // idle, and a record of their own would cost a cache line on the hit path.
  BlockId bin_prev;
  BlockId bin_next;
  std::uint32_t stamp;  // epoch of the heap's stream at the last use of any part of it
  std::uint16_t bin;
  BlockState state;
  std::uint8_t flags;

  bool is_free() const { return state == BlockState::free; }
  std::uint32_t end() const { return offset.count() + size.count(); }
  std::uint64_t requested() const { return bin_prev | (std::uint64_t{bin_next} << 32); }
  void set_requested(std::uint64_t bytes) {
    bin_prev = static_cast<std::uint32_t>(bytes);
    bin_next = static_cast<std::uint32_t>(bytes >> 32);
  }
};
static_assert(sizeof(Block) == 32);

// What few blocks have; beside the record so that the hit path never touches it.
struct BlockNote {
  std::uint64_t cookie;
  std::uint32_t uses;     // index of a list of streams
  std::uint32_t journal;  // its line in the journal of the step that it was born in
  MemberId member;
};

class BlockPool {
 public:
  // 2^26 records: 64 million blocks. Address space only; pages are committed as blocks come to exist.
  explicit BlockPool(std::size_t capacity = std::size_t{1} << 26) : blocks_(capacity), notes_(capacity) {}

  Block* data() { return blocks_.data(); }
  const Block* data() const { return blocks_.data(); }
  Block& operator[](BlockId id) { return blocks_[id]; }
  const Block& operator[](BlockId id) const { return blocks_[id]; }
  BlockNote& note(BlockId id) { return notes_[id]; }
  const BlockNote& note(BlockId id) const { return notes_[id]; }

  // kNoBlock: the host has no memory for another record.
  BlockId take() {
    const BlockId id = free_;
    if (id == kNoBlock) [[unlikely]]
      return take_fresh();
    free_ = blocks_[id].next;
    return id;
  }
  void give(BlockId id) {
    blocks_[id].next = free_;
    free_ = id;
  }
  // Host memory behind the records, for the bound on bytes a live block.
  std::size_t committed_bytes() const { return blocks_.committed_bytes() + notes_.committed_bytes(); }
  std::size_t records() const { return used_; }

 private:
  BlockId take_fresh();

  base::FlatArray<Block> blocks_;
  base::FlatArray<BlockNote> notes_;
  BlockId free_ = kNoBlock;
  BlockId used_ = 0;  // records ever taken, the dummy included
};

}  // namespace gapless::heap

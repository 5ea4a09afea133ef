// SPDX-License-Identifier: Apache-2.0
/// @file
/// Snapshot: the mapped ranges and the blocks that tile them at one moment; and its JSON form.
///
/// The JSON has the keys of PyTorch's torch.cuda.memory_snapshot()["segments"], so that scripts that read that read
/// this.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <fstream>
#include <ostream>
#include <string>
#include <system_error>
#include <vector>

#include "gapless/cpp/status.hpp"
#include "gapless/gapless.h"

namespace gapless {

struct Snapshot {
  enum class State : int {
    free = GAPLESS_BLOCK_FREE,
    allocated = GAPLESS_BLOCK_ALLOCATED,
    pending_free = GAPLESS_BLOCK_PENDING_FREE,  ///< given back, still in use by streams
  };
  struct Block {
    std::uint64_t address = 0;
    std::size_t bytes = 0;
    std::size_t requested_bytes = 0;  ///< 0 when free
    State state = State::free;
    std::uint64_t cookie = 0;
  };
  /// One contiguous mapped range.
  struct Segment {
    std::uint64_t address = 0;
    std::size_t bytes = 0;
    int device = 0;
    bool is_small = false;
    bool is_expandable = false;
    gapless_stream stream = nullptr;
    gapless_pool_id pool{};
    std::vector<Block> blocks;  ///< ascending, without holes
  };
  std::vector<Segment> segments;  ///< ascending by address

  /// A consistent copy of `device` (-1: all devices), of `pool` or of all pools when null. The host's std::bad_alloc
  /// can leave here.
  [[nodiscard]] static Result<Snapshot> try_take(gapless_allocator* allocator, int device,
                                                 const gapless_pool_id* pool = nullptr);
};

namespace detail {

/// Collects the walk. An exception must not cross the C walker, so it waits here until the walk has returned.
struct SnapshotBuilder {
  Snapshot snapshot;
#if defined(__cpp_exceptions)
  std::exception_ptr failure;
#endif

  template <typename Step>
  std::int32_t guarded(Step step) noexcept {
#if defined(__cpp_exceptions)
    try {
      step();
      return 0;
    } catch (...) {
      failure = std::current_exception();
      return 1;
    }
#else
    step();
    return 0;
#endif
  }

  static std::int32_t on_segment(void* user, const gapless_segment_view* view) noexcept {
    auto* self = static_cast<SnapshotBuilder*>(user);
    return self->guarded([&] {
      self->snapshot.segments.push_back({view->address,
                                         view->bytes,
                                         view->device,
                                         view->is_small != 0,
                                         view->is_expandable != 0,
                                         view->stream,
                                         view->pool,
                                         {}});
    });
  }
  static std::int32_t on_block(void* user, const gapless_block_view* view) noexcept {
    auto* self = static_cast<SnapshotBuilder*>(user);
    return self->guarded([&] {
      self->snapshot.segments.back().blocks.push_back(
          {view->address, view->bytes, view->requested_bytes, static_cast<Snapshot::State>(view->state), view->cookie});
    });
  }
};

}  // namespace detail

inline Result<Snapshot> Snapshot::try_take(gapless_allocator* allocator, int device, const gapless_pool_id* pool) {
  detail::SnapshotBuilder builder;
  gapless_snapshot_visitor visitor = GAPLESS_STRUCT(gapless_snapshot_visitor);
  visitor.user = &builder;
  visitor.on_segment = &detail::SnapshotBuilder::on_segment;
  visitor.on_block = &detail::SnapshotBuilder::on_block;
  const gapless_status status = gapless_walk_snapshot(allocator, device, pool, &visitor);
#if defined(__cpp_exceptions)
  if (builder.failure) std::rethrow_exception(builder.failure);
#endif
  if (status != GAPLESS_OK) return detail::failure_of(status);
  return Result<Snapshot>(std::move(builder.snapshot));
}

/// PyTorch's word for a block's state.
[[nodiscard]] inline const char* name(Snapshot::State state) noexcept {
  switch (state) {
    case Snapshot::State::allocated:
      return "active_allocated";
    case Snapshot::State::pending_free:
      return "active_pending_free";
    case Snapshot::State::free:
      break;
  }
  return "inactive";
}

/// Writes {"segments": [...]}. Addresses and sizes are decimal bytes; one line a segment.
inline void write_json(std::ostream& out, const Snapshot& snapshot) {
  const auto bool_name = [](bool value) { return value ? "true" : "false"; };
  out << "{\"segments\": [";
  const char* segment_separator = "\n";
  for (const Snapshot::Segment& segment : snapshot.segments) {
    std::size_t allocated = 0;
    std::size_t active = 0;
    std::size_t requested = 0;
    for (const Snapshot::Block& block : segment.blocks) {
      if (block.state == Snapshot::State::allocated) allocated += block.bytes;
      if (block.state != Snapshot::State::free) active += block.bytes, requested += block.requested_bytes;
    }
    out << segment_separator << "{\"device\": " << segment.device << ", \"address\": " << segment.address
        << ", \"total_size\": " << segment.bytes << ", \"allocated_size\": " << allocated
        << ", \"active_size\": " << active << ", \"requested_size\": " << requested
        << ", \"stream\": " << reinterpret_cast<std::uintptr_t>(segment.stream) << ", \"segment_type\": \""
        << (segment.is_small ? "small" : "large") << "\", \"segment_pool_id\": [" << segment.pool.high << ", "
        << segment.pool.low << "], \"is_expandable\": " << bool_name(segment.is_expandable) << ", \"blocks\": [";
    const char* block_separator = "";
    for (const Snapshot::Block& block : segment.blocks) {
      out << block_separator << "{\"address\": " << block.address << ", \"size\": " << block.bytes
          << ", \"requested_size\": " << block.requested_bytes << ", \"state\": \"" << name(block.state) << "\"}";
      block_separator = ", ";
    }
    out << "]}";
    segment_separator = ",\n";
  }
  out << "\n]}\n";
}

///@{
/// Writes the JSON to a file. What fails is the file system: std::error_code, or std::system_error.
[[nodiscard]] inline std::error_code try_write_json_file(const std::string& path, const Snapshot& snapshot) {
  errno = 0;
  std::ofstream out(path, std::ios::out | std::ios::trunc);
  if (out) write_json(out, snapshot);
  out.close();
  if (out) return {};
  return {errno != 0 ? errno : EIO, std::generic_category()};
}
#if defined(__cpp_exceptions)
inline void write_json_file(const std::string& path, const Snapshot& snapshot) {
  if (const std::error_code error = try_write_json_file(path, snapshot)) throw std::system_error(error, path);
}
#endif
///@}

}  // namespace gapless

// SPDX-License-Identifier: Apache-2.0
#include "constant/padding.hpp"

#include <string>

#include "constant/kernels_library.hpp"

namespace gapless::constant {
namespace {

constexpr std::uint64_t kAlignment = 512;  // of every part: as if each were a block of its own
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 62;
constexpr std::uint64_t kOwnClasses = std::uint64_t{1} << 63;

// Two shapes of one class would only move its buffers, so a hash is enough.
std::uint64_t class_of(const gapless_ragged_batch& batch, std::int64_t length) {
  std::uint64_t hash = batch.outputs * 2 + (batch.labels != nullptr ? 1 : 0);
  if (batch.to != GAPLESS_PAD_TO_LONGEST) {
    for (const std::int64_t part : {batch.count, length})
      hash = (hash ^ static_cast<std::uint64_t>(part)) * 0x9e3779b97f4a7c15U + 1;
  }
  return hash | kOwnClasses;
}

Status layout_for(const gapless_ragged_batch& batch, std::int64_t length, PaddedLayout& out) {
  constexpr std::uint32_t kOutputs =
      GAPLESS_PADDED_MASK | GAPLESS_PADDED_POSITIONS | GAPLESS_PADDED_LABELS | GAPLESS_PADDED_CU_SEQLENS;
  if ((batch.outputs & ~kOutputs) != 0)
    return base::fail(Status::invalid_argument, "outputs has a bit that means nothing");
  if (layout_of(batch.count, length, batch.outputs, batch.labels != nullptr, out)) return Status::ok;
  return base::fail(Status::invalid_argument, "count x length is past the address space");
}

// Copies what the kernel reads and launches it.
Status enqueue(const KernelsLibrary& kernels, const gapless_ragged_batch& batch, const PaddedLayout& layout,
               void* buffer, driver::Stream stream, const gapless_padded_batch& out) {
  auto* const base = static_cast<unsigned char*>(buffer);
  std::uint64_t tokens = 0;
  for (std::int64_t row = 0; row < batch.count; ++row) tokens += static_cast<std::uint64_t>(batch.lengths[row]);
  if (tokens != 0 && batch.tokens == nullptr) return base::fail(Status::invalid_argument, "tokens is NULL");

  gapless_status status = kernels.copy(base + layout.lengths, batch.lengths,
                                       static_cast<std::uint64_t>(batch.count) * sizeof(std::int64_t), stream);
  if (status == GAPLESS_OK)
    status = kernels.copy(base + layout.tokens, batch.tokens, tokens * sizeof(std::int64_t), stream);
  if (status == GAPLESS_OK && batch.labels != nullptr)
    status = kernels.copy(base + layout.labels, batch.labels, tokens * sizeof(std::int64_t), stream);
  if (status != GAPLESS_OK) return kernels.failed(status);

  gapless_pad_batch launch = GAPLESS_STRUCT(gapless_pad_batch);
  launch.tokens = reinterpret_cast<const std::int64_t*>(base + layout.tokens);
  if (batch.labels != nullptr) launch.labels = reinterpret_cast<const std::int64_t*>(base + layout.labels);
  launch.lengths = reinterpret_cast<const std::int64_t*>(base + layout.lengths);
  launch.count = batch.count;
  launch.length = out.length;
  launch.pad_id = batch.pad_id;
  launch.ignore_index = batch.ignore_index;
  launch.left = batch.left;
  launch.out_tokens = out.tokens;
  launch.out_mask = out.mask;
  launch.out_positions = out.positions;
  launch.out_labels = out.labels;
  launch.out_cu_seqlens = out.cu_seqlens;
  launch.offsets = reinterpret_cast<std::int64_t*>(base + layout.offsets);
  launch.error = reinterpret_cast<gapless_pad_error*>(base + layout.error);
  status = kernels.pad(&launch, stream);
  return status == GAPLESS_OK ? Status::ok : kernels.failed(status);
}

template <typename T>
T* at(void* buffer, std::uint64_t offset) {
  if (offset == PaddedLayout::kNowhere) return nullptr;
  return reinterpret_cast<T*>(static_cast<unsigned char*>(buffer) + offset);
}

// The kernel's 32-bit offsets hold no more; it would say so on the device, where nobody waits for the answer.
Status check_cu_seqlens(const gapless_ragged_batch& batch, gapless_pad_error* error) {
  if ((batch.outputs & GAPLESS_PADDED_CU_SEQLENS) == 0) return Status::ok;
  std::int64_t left = 0x7fffffff;
  for (std::int64_t row = 0; row < batch.count; ++row) {
    if (batch.lengths[row] <= left) {
      left -= batch.lengths[row];
      continue;
    }
    if (error != nullptr) *error = {row, batch.lengths[row]};
    return base::fail(Status::invalid_argument, "sequence " + std::to_string(row) + " with " +
                                                    std::to_string(batch.lengths[row]) +
                                                    " tokens ends past 2^31 - 1, which cu_seqlens cannot say");
  }
  return Status::ok;
}

}  // namespace

bool layout_of(std::int64_t rows, std::int64_t length, std::uint32_t outputs, bool own_labels, PaddedLayout& out) {
  const auto count = static_cast<std::uint64_t>(rows);
  const auto width = static_cast<std::uint64_t>(length);
  // Six arrays of cells and two of rows stay below 2^62 bytes.
  if (count >= kMostBytes / 256 || (width != 0 && count > kMostBytes / 256 / width)) return false;
  const std::uint64_t cells = count * width * sizeof(std::int64_t);
  out.bytes = 0;
  const auto part = [&out](std::uint64_t bytes, bool wanted) {
    if (!wanted) return PaddedLayout::kNowhere;
    const std::uint64_t offset = out.bytes;
    out.bytes += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return offset;
  };
  out.out_tokens = part(cells, true);
  out.out_mask = part(cells, (outputs & GAPLESS_PADDED_MASK) != 0);
  out.out_positions = part(cells, (outputs & GAPLESS_PADDED_POSITIONS) != 0);
  out.out_labels = part(cells, (outputs & GAPLESS_PADDED_LABELS) != 0);
  out.out_cu_seqlens = part((count + 1) * sizeof(std::int32_t), (outputs & GAPLESS_PADDED_CU_SEQLENS) != 0);
  out.tokens = part(cells, true);
  out.labels = part(cells, own_labels);
  out.lengths = part(count * sizeof(std::int64_t), true);
  out.offsets = part((count + 1) * sizeof(std::int64_t), true);
  out.error = part(sizeof(gapless_pad_error), true);
  return true;
}

Status pad(BufferPool& pool, const gapless_ragged_batch& batch, driver::Stream stream, gapless_padded_batch& out,
           gapless_pad_error* error) {
  const KernelsLibrary* kernels = nullptr;
  if (const Status status = KernelsLibrary::open(kernels); status != Status::ok) return status;
  std::int64_t length = 0;
  if (const gapless_status status =
          kernels->pad_length(batch.lengths, batch.count, batch.to, batch.value, &length, error);
      status != GAPLESS_OK)
    return kernels->failed(status);
  if (const Status status = check_cu_seqlens(batch, error); status != Status::ok) return status;
  PaddedLayout layout{};
  if (const Status status = layout_for(batch, length, layout); status != Status::ok) return status;
  const OnDevice device(*kernels, pool.device());
  if (device.status() != GAPLESS_OK) return kernels->failed(device.status());

  Lease lease{};
  if (const Status status = pool.acquire(class_of(batch, length), layout.bytes, stream, lease); status != Status::ok)
    return status;
  gapless_padded_batch padded = GAPLESS_STRUCT(gapless_padded_batch);
  padded.ticket = lease.ticket;
  padded.rows = batch.count;
  padded.length = length;
  padded.tokens = at<std::int64_t>(lease.address, layout.out_tokens);
  padded.mask = at<std::int64_t>(lease.address, layout.out_mask);
  padded.positions = at<std::int64_t>(lease.address, layout.out_positions);
  padded.labels = at<std::int64_t>(lease.address, layout.out_labels);
  padded.cu_seqlens = at<std::int32_t>(lease.address, layout.out_cu_seqlens);
  if (const Status status = enqueue(*kernels, batch, layout, lease.address, stream, padded); status != Status::ok) {
    // The failure's words are of the enqueueing; what was enqueued before it comes before the buffer's next use.
    const std::string why = base::last_error();
    static_cast<void>(pool.release(lease.ticket));
    return base::fail(status, why);
  }
  out = padded;
  return Status::ok;
}

Status reserve(BufferPool& pool, const gapless_ragged_batch& batch, std::int64_t longest, driver::Stream stream) {
  const KernelsLibrary* kernels = nullptr;
  if (const Status status = KernelsLibrary::open(kernels); status != Status::ok) return status;
  // The length of a batch whose longest sequence is `longest`.
  const std::int64_t one = batch.to == GAPLESS_PAD_TO_LENGTH ? 0 : longest;
  std::int64_t length = 0;
  if (const gapless_status status = kernels->pad_length(&one, 1, batch.to, batch.value, &length, nullptr);
      status != GAPLESS_OK)
    return kernels->failed(status);
  PaddedLayout layout{};
  if (const Status status = layout_for(batch, length, layout); status != Status::ok) return status;
  return pool.reserve(class_of(batch, length), layout.bytes, stream);
}

}  // namespace gapless::constant

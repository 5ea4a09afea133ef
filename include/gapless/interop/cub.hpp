// SPDX-License-Identifier: Apache-2.0
/// @file
/// with_temporary_storage: CUB's two calls (ask the size, then run) with the storage from gapless.
///
///     cudaError_t error = gapless::interop::with_temporary_storage(gpu, stream, [&](void* storage, std::size_t& bytes)
///     {
///       return cub::DeviceReduce::Sum(storage, bytes, in, out, count, stream);
///     });
///
/// Needs no CUDA header.
#pragma once

#include <cstddef>
#include <utility>

#include "gapless/cpp/device.hpp"

namespace gapless::interop {

/// Calls `call(nullptr, bytes)`, which writes the bytes that it needs, then `call(storage, bytes)`. Both must enqueue
/// on `stream`; the storage is given back in its order, so nothing waits. Returns what `call` returned last: an enum or
/// integer whose zero means success (cudaError_t). Throws OutOfMemory or Error when there is no storage.
template <typename Call>
auto with_temporary_storage(Device device, Stream stream, Call&& call)
    -> decltype(call(static_cast<void*>(nullptr), std::declval<std::size_t&>())) {
  std::size_t bytes = 0;
  const auto asked = call(static_cast<void*>(nullptr), bytes);
  if (static_cast<long long>(asked) != 0) return asked;
  // A null pointer would be the question again: an algorithm that needs nothing still gets an address.
  const Block storage = device.allocate(bytes == 0 ? 1 : bytes, stream);
  return call(storage.data(), bytes);
}

}  // namespace gapless::interop

// SPDX-License-Identifier: Apache-2.0
/// @file
/// gapless.hpp: the C++20 face of gapless.h. Header only; link libgapless and nothing else. No CUDA header is needed.
///
///     gapless::Allocator allocator = gapless::Allocator::open();
///     gapless::Device gpu = allocator.device(0);
///     gapless::Block block = gpu.allocate(bytes, stream);   // freed in stream order at the end of the scope
///     kernel<<<grid, threads, 0, stream>>>(block.data());
///
/// @par Errors: the user's choice
/// Every operation that can fail exists twice. `try_x` is noexcept and returns Result<T>: the value, or a Failure
/// (status, text, CUresult). `x` returns the value and throws: OutOfMemory (a std::bad_alloc) when memory ran out,
/// Error (a std::runtime_error) otherwise. With exceptions switched off, `x` ends the program where it would have
/// thrown.
///
/// @par Threads
/// Every object may be used from several threads as an int may be: concurrent const use is fine, one writer otherwise.
/// The allocator behind them takes calls from any thread at any time.
///
/// @par Streams
/// A stream is a CUstream or cudaStream_t; both convert by themselves. Memory is ordered by streams: a block made for
/// stream S may be used at once by work enqueued on S, and its destruction does not wait for that work. Use on another
/// stream must be ordered after S by the caller and told with Block::record_stream.
///
/// @par Lifetime
/// Devices, blocks, pools and hooks refer to their Allocator and must be destroyed before it closes. An Allocator that
/// goes out of scope while blocks live stays open, so that a late free is never a use after free; see Allocator::close.
#pragma once

// Asks for C++20 before anything else is read.
#include "gapless/cpp/status.hpp"

#include "gapless/cpp/allocator.hpp"
#include "gapless/cpp/block.hpp"
#include "gapless/cpp/constant.hpp"
#include "gapless/cpp/device.hpp"
#include "gapless/cpp/limit.hpp"
#include "gapless/cpp/oom_hook.hpp"
#include "gapless/cpp/pool.hpp"
#include "gapless/cpp/snapshot.hpp"

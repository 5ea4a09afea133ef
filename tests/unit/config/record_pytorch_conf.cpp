// SPDX-License-Identifier: Apache-2.0
// Records what PyTorch's own parser makes of strings: lines on stdin, the rows of pytorch_2.11.tsv on stdout. Built by
// hand against the wheel whose answers are wanted (its include folder and -lc10 -lc10_cuda); needs no GPU. Not part of
// the build.
#include <c10/core/AllocatorConfig.h>
#include <c10/cuda/CUDAAllocatorConfig.h>

#include <iostream>
#include <string>

int main() {
  using Generic = c10::CachingAllocator::AcceleratorAllocatorConfig;
  using Cuda = c10::cuda::CUDACachingAllocator::CUDAAllocatorConfig;
  constexpr const char* kDefaults =
      "expandable_segments:False,large_segment_size_mb:20,release_lock_on_cudamalloc:False,"
      "graph_capture_record_stream_reuse:False,per_process_memory_fraction:1.0";
  std::string text;
  while (std::getline(std::cin, text)) {
    c10::CachingAllocator::setAllocatorSettings(kDefaults);
    c10::CachingAllocator::setAllocatorSettings("");
    std::string verdict = "ok";
    try {
      c10::CachingAllocator::setAllocatorSettings(text);
    } catch (const c10::Error& error) {
      verdict = error.what_without_backtrace();
    } catch (const std::exception& error) {
      verdict = std::string("std:") + error.what();
    }
    for (char& c : verdict) c = c == '\n' ? ' ' : c;
    std::cout << text << '\t' << verdict << '\t';
    for (const auto divisions : Generic::roundup_power2_divisions()) std::cout << divisions << ',';
    std::cout << '\t' << Generic::max_split_size() << ' ' << Generic::max_non_split_rounding_size() << ' '
              << Generic::large_segment_size() << ' ' << Generic::garbage_collection_threshold() << ' '
              << Generic::use_expandable_segments() << ' ' << Cuda::per_process_memory_fraction() << ' '
              << Cuda::release_lock_on_cudamalloc() << ' ' << Cuda::graph_capture_record_stream_reuse() << '\n';
  }
}

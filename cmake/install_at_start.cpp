// SPDX-License-Identifier: Apache-2.0
//
// Compiled into every program that links gapless::torch: makes gapless PyTorch's CUDA allocator before main().
//
// In the program and not in the library, because the library is also loaded by those who install when they choose. A program's
// constructors run after those of all libraries that it links, so PyTorch's own registration is over. When gapless cannot serve,
// one line on stderr says so and PyTorch's allocator stays.
extern "C" int gapless_torch_install(void);

namespace {

struct InstallAtStart {
  InstallAtStart() { static_cast<void>(gapless_torch_install()); }
} const install_at_start;

}  // namespace

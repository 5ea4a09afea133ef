// SPDX-License-Identifier: Apache-2.0
// A program of PyTorch's that links gapless::torch and says nothing of gapless: before main() it is on it.
#include <cstdio>

// Of gapless/gapless_torch.h, which needs CUDA's headers.
extern "C" int gapless_torch_is_installed(void);

int main() {
  if (gapless_torch_is_installed() == 1) return 0;
  std::fprintf(stderr, "gapless is not PyTorch's allocator\n");
  return 1;
}

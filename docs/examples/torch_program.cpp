// SPDX-License-Identifier: Apache-2.0
// A program of PyTorch's that links gapless::torch and says nothing of gapless: its tensors come from it all the same.
#include <ATen/ATen.h>

#include <iostream>

int main() {
  const at::Tensor x = at::full({1024, 1024}, 2.0, at::kCUDA);
  std::cout << x.nbytes() << " bytes on " << x.device() << '\n';
  return 0;
}

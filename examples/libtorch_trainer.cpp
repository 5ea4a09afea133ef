// SPDX-License-Identifier: Apache-2.0
// A trainer in C++ with LibTorch: a small transformer, batches of varying length, micro-batches that shrink when a step
// does not fit. It knows nothing of gapless: the program links gapless::torch, and that is all
// (examples/CMakeLists.txt).
//
//   ./libtorch_trainer [STEPS]        without a GPU: gapless-sim --size 1GiB -- ./libtorch_trainer
#include <torch/torch.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace {

constexpr int64_t kVocabulary = 8192;
constexpr int64_t kWidth = 256;
constexpr int64_t kHeads = 4;
constexpr int64_t kLayers = 4;
constexpr int64_t kLongest = 512;
constexpr int64_t kRows = 32;  // of a batch: what one optimizer step sees, however it is cut

struct LayerImpl : torch::nn::Module {
  LayerImpl()
      : before_attention(
            register_module("before_attention", torch::nn::LayerNorm(torch::nn::LayerNormOptions({kWidth})))),
        before_mlp(register_module("before_mlp", torch::nn::LayerNorm(torch::nn::LayerNormOptions({kWidth})))),
        qkv(register_module("qkv", torch::nn::Linear(kWidth, 3 * kWidth))),
        out(register_module("out", torch::nn::Linear(kWidth, kWidth))),
        up(register_module("up", torch::nn::Linear(kWidth, 4 * kWidth))),
        down(register_module("down", torch::nn::Linear(4 * kWidth, kWidth))) {}

  torch::Tensor forward(torch::Tensor x) {
    const int64_t rows = x.size(0);
    const int64_t length = x.size(1);
    const auto heads =
        qkv(before_attention(x)).view({rows, length, 3, kHeads, kWidth / kHeads}).permute({2, 0, 3, 1, 4});
    const auto attended = at::scaled_dot_product_attention(heads[0], heads[1], heads[2], {}, 0.0, /*is_causal=*/true);
    x = x + out(attended.transpose(1, 2).reshape({rows, length, kWidth}));
    return x + down(torch::gelu(up(before_mlp(x))));
  }

  torch::nn::LayerNorm before_attention, before_mlp;
  torch::nn::Linear qkv, out, up, down;
};
TORCH_MODULE(Layer);

struct ModelImpl : torch::nn::Module {
  ModelImpl()
      : tokens(register_module("tokens", torch::nn::Embedding(kVocabulary, kWidth))),
        positions(register_module("positions", torch::nn::Embedding(kLongest, kWidth))),
        head(register_module("head", torch::nn::Linear(kWidth, kVocabulary))) {
    for (int64_t i = 0; i < kLayers; ++i) layers->push_back(Layer());
    register_module("layers", layers);
  }

  /// The sum of the cross entropies of the next tokens.
  torch::Tensor loss(const torch::Tensor& batch) {
    const auto input = batch.slice(1, 0, -1);
    torch::Tensor x = tokens(input) + positions(torch::arange(input.size(1), batch.options()));
    for (const auto& layer : *layers) x = layer->as<Layer>()->forward(x);
    return torch::nn::functional::cross_entropy(
        head(x).flatten(0, 1), batch.slice(1, 1).flatten(),
        torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum));
  }

  torch::nn::Embedding tokens, positions;
  torch::nn::ModuleList layers;
  torch::nn::Linear head;
};
TORCH_MODULE(Model);

/// Gradients of the whole batch, in micro-batches of at most `rows`, which shrinks until one fits. Nothing is dropped
/// or counted twice: after a failure the gradients start anew. Returns the rows that worked.
int64_t backward_in_parts(Model& model, torch::optim::Optimizer& optimizer, const torch::Tensor& batch, int64_t rows) {
  const double predictions = static_cast<double>(batch.size(0) * (batch.size(1) - 1));
  for (;; rows /= 2) {
    try {
      optimizer.zero_grad();
      for (int64_t first = 0; first < batch.size(0); first += rows) {
        const auto part = batch.slice(0, first, std::min(first + rows, batch.size(0)));
        (model->loss(part) / predictions).backward();
      }
      return rows;
    } catch (const c10::OutOfMemoryError&) {
      if (rows == 1) throw;
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const int steps = argc > 1 ? std::atoi(argv[1]) : 20;
  torch::manual_seed(1);
  Model model;
  model->to(torch::kCUDA);
  torch::optim::AdamW optimizer(model->parameters(), torch::optim::AdamWOptions(1e-3));

  std::mt19937 random(1);
  std::uniform_int_distribution<int64_t> lengths(kLongest / 8, kLongest);
  int64_t rows = kRows;
  for (int step = 0; step < steps; ++step) {
    const auto batch = torch::randint(kVocabulary, {kRows, lengths(random)}, torch::kLong).to(torch::kCUDA);
    rows = backward_in_parts(model, optimizer, batch, rows);
    optimizer.step();
  }
  torch::cuda::synchronize();
  std::printf("%d steps done, micro-batches of %lld rows\n", steps, static_cast<long long>(rows));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

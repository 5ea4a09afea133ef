// SPDX-License-Identifier: Apache-2.0
// cuDNN functions that answer with a size or an algorithm. Workspace sizes of a real cuDNN come from heuristics that
// are not public: the sizes here are a rule of the simulation (as many bytes as the input, at most 256 MiB; none for
// 1x1 filters, which are plain matrix products), documented as such, and no measurement of a GPU.
#include <cstring>

#include "simcuda/maths/cudnn_descriptors.hpp"

using namespace gapless::simcuda;

namespace {

constexpr std::size_t kMaximumWorkspace = 256u << 20;

std::size_t workspace_bytes(const void* input, const void* filter) {
  const CudnnTensor* weights = tensor_of(filter);
  const bool pointwise = std::all_of(weights->sizes + 2, weights->sizes + std::max(2, weights->dimensions),
                                     [](int size) { return size == 1; });
  return pointwise ? 0 : std::min(tensor_of(input)->bytes(), kMaximumWorkspace);
}

template <typename Performance, typename Algorithm>
cudnnStatus_t answer(Algorithm algorithm, std::size_t bytes, int requested, int* found, Performance* results) {
  if (requested < 1 || found == nullptr || results == nullptr) return CUDNN_STATUS_BAD_PARAM;
  std::memset(results, 0, sizeof *results);
  results->algo = algorithm;
  results->status = CUDNN_STATUS_SUCCESS;
  results->memory = bytes;
  results->determinism = CUDNN_DETERMINISTIC;
  results->mathType = CUDNN_TENSOR_OP_MATH;
  *found = 1;
  return CUDNN_STATUS_SUCCESS;
}

constexpr auto kForward = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
constexpr auto kBackwardData = CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
constexpr auto kBackwardFilter = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;

}  // namespace

using Tensor = const cudnnTensorDescriptor_t;
using Filter = const cudnnFilterDescriptor_t;
using Convolution = const cudnnConvolutionDescriptor_t;

GAPLESS_SIM_CUDNN cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, Tensor x, Filter w, Convolution, Tensor,
                                                         const int requested, int* found,
                                                         cudnnConvolutionFwdAlgoPerf_t* results) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetConvolutionForwardAlgorithm_v7");
  GAPLESS_SIM_CUDNN_REQUIRE(x != nullptr && w != nullptr);
  return answer(kForward, workspace_bytes(x, w), requested, found, results);
}

GAPLESS_SIM_CUDNN cudnnFindConvolutionForwardAlgorithmEx(cudnnHandle_t, Tensor x, const void*, Filter w, const void*,
                                                         Convolution, Tensor, void*, const int requested, int* found,
                                                         cudnnConvolutionFwdAlgoPerf_t* results, void*, size_t) {
  GAPLESS_SIM_MATHS_CALL("cudnnFindConvolutionForwardAlgorithmEx");
  GAPLESS_SIM_CUDNN_REQUIRE(x != nullptr && w != nullptr);
  return answer(kForward, workspace_bytes(x, w), requested, found, results);
}

GAPLESS_SIM_CUDNN cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, Tensor x, Filter w, Convolution, Tensor,
                                                          cudnnConvolutionFwdAlgo_t, size_t* bytes) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetConvolutionForwardWorkspaceSize");
  GAPLESS_SIM_CUDNN_REQUIRE(x != nullptr && w != nullptr && bytes != nullptr);
  *bytes = workspace_bytes(x, w);
  return CUDNN_STATUS_SUCCESS;
}

GAPLESS_SIM_CUDNN cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t, Filter w, Tensor dy, Convolution, Tensor,
                                                              const int requested, int* found,
                                                              cudnnConvolutionBwdDataAlgoPerf_t* results) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetConvolutionBackwardDataAlgorithm_v7");
  GAPLESS_SIM_CUDNN_REQUIRE(dy != nullptr && w != nullptr);
  return answer(kBackwardData, workspace_bytes(dy, w), requested, found, results);
}

GAPLESS_SIM_CUDNN cudnnFindConvolutionBackwardDataAlgorithmEx(cudnnHandle_t, Filter w, const void*, Tensor dy,
                                                              const void*, Convolution, Tensor, void*,
                                                              const int requested, int* found,
                                                              cudnnConvolutionBwdDataAlgoPerf_t* results, void*,
                                                              size_t) {
  GAPLESS_SIM_MATHS_CALL("cudnnFindConvolutionBackwardDataAlgorithmEx");
  GAPLESS_SIM_CUDNN_REQUIRE(dy != nullptr && w != nullptr);
  return answer(kBackwardData, workspace_bytes(dy, w), requested, found, results);
}

GAPLESS_SIM_CUDNN cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t, Filter w, Tensor dy, Convolution, Tensor,
                                                               cudnnConvolutionBwdDataAlgo_t, size_t* bytes) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetConvolutionBackwardDataWorkspaceSize");
  GAPLESS_SIM_CUDNN_REQUIRE(dy != nullptr && w != nullptr && bytes != nullptr);
  *bytes = workspace_bytes(dy, w);
  return CUDNN_STATUS_SUCCESS;
}

GAPLESS_SIM_CUDNN cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t, Tensor x, Tensor, Convolution, Filter dw,
                                                                const int requested, int* found,
                                                                cudnnConvolutionBwdFilterAlgoPerf_t* results) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetConvolutionBackwardFilterAlgorithm_v7");
  GAPLESS_SIM_CUDNN_REQUIRE(x != nullptr && dw != nullptr);
  return answer(kBackwardFilter, workspace_bytes(x, dw), requested, found, results);
}

GAPLESS_SIM_CUDNN cudnnFindConvolutionBackwardFilterAlgorithmEx(cudnnHandle_t, Tensor x, const void*, Tensor,
                                                                const void*, Convolution, Filter dw, void*,
                                                                const int requested, int* found,
                                                                cudnnConvolutionBwdFilterAlgoPerf_t* results, void*,
                                                                size_t) {
  GAPLESS_SIM_MATHS_CALL("cudnnFindConvolutionBackwardFilterAlgorithmEx");
  GAPLESS_SIM_CUDNN_REQUIRE(x != nullptr && dw != nullptr);
  return answer(kBackwardFilter, workspace_bytes(x, dw), requested, found, results);
}

GAPLESS_SIM_CUDNN cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnHandle_t, Tensor x, Tensor, Convolution,
                                                                 Filter dw, cudnnConvolutionBwdFilterAlgo_t,
                                                                 size_t* bytes) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetConvolutionBackwardFilterWorkspaceSize");
  GAPLESS_SIM_CUDNN_REQUIRE(x != nullptr && dw != nullptr && bytes != nullptr);
  *bytes = workspace_bytes(x, dw);
  return CUDNN_STATUS_SUCCESS;
}

// ---- batch normalisation: no scratch memory

GAPLESS_SIM_CUDNN cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(cudnnHandle_t, cudnnBatchNormMode_t,
                                                                           cudnnBatchNormOps_t, Tensor, Tensor, Tensor,
                                                                           Tensor, const cudnnActivationDescriptor_t,
                                                                           size_t* bytes) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize");
  GAPLESS_SIM_CUDNN_REQUIRE(bytes != nullptr);
  *bytes = 0;
  return CUDNN_STATUS_SUCCESS;
}

GAPLESS_SIM_CUDNN cudnnGetBatchNormalizationBackwardExWorkspaceSize(cudnnHandle_t, cudnnBatchNormMode_t,
                                                                    cudnnBatchNormOps_t, Tensor, Tensor, Tensor, Tensor,
                                                                    Tensor, Tensor, const cudnnActivationDescriptor_t,
                                                                    size_t* bytes) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetBatchNormalizationBackwardExWorkspaceSize");
  GAPLESS_SIM_CUDNN_REQUIRE(bytes != nullptr);
  *bytes = 0;
  return CUDNN_STATUS_SUCCESS;
}

GAPLESS_SIM_CUDNN cudnnGetBatchNormalizationTrainingExReserveSpaceSize(cudnnHandle_t, cudnnBatchNormMode_t,
                                                                       cudnnBatchNormOps_t,
                                                                       const cudnnActivationDescriptor_t, Tensor,
                                                                       size_t* bytes) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetBatchNormalizationTrainingExReserveSpaceSize");
  GAPLESS_SIM_CUDNN_REQUIRE(bytes != nullptr);
  *bytes = 0;
  return CUDNN_STATUS_SUCCESS;
}

// ---- connectionist temporal classification: as much scratch memory as the probabilities take

GAPLESS_SIM_CUDNN cudnnGetCTCLossWorkspaceSize(cudnnHandle_t, Tensor probabilities, Tensor, const int*, const int*,
                                               const int*, cudnnCTCLossAlgo_t, cudnnCTCLossDescriptor_t,
                                               size_t* bytes) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetCTCLossWorkspaceSize");
  GAPLESS_SIM_CUDNN_REQUIRE(probabilities != nullptr && bytes != nullptr);
  *bytes = tensor_of(probabilities)->bytes();
  return CUDNN_STATUS_SUCCESS;
}

GAPLESS_SIM_CUDNN cudnnGetCTCLossWorkspaceSize_v8(cudnnHandle_t, cudnnCTCLossAlgo_t, cudnnCTCLossDescriptor_t,
                                                  Tensor probabilities, Tensor, size_t* bytes) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetCTCLossWorkspaceSize_v8");
  GAPLESS_SIM_CUDNN_REQUIRE(probabilities != nullptr && bytes != nullptr);
  *bytes = tensor_of(probabilities)->bytes();
  return CUDNN_STATUS_SUCCESS;
}

// SPDX-License-Identifier: Apache-2.0
// What the operations of cuDNN read and write, which strict mode judges. A tensor with holes between its elements is
// left out: others may own the bytes in them.
#include <initializer_list>

#include "simcuda/internal.hpp"
#include "simcuda/maths/cudnn_descriptors.hpp"

using namespace gapless::simcuda;

namespace {

gapless_sim_range range_of(const void* data, std::size_t bytes, bool write) {
  return {data, data != nullptr ? bytes : 0, write};
}

gapless_sim_range reads(const void* descriptor, const void* data) {
  return range_of(data, descriptor != nullptr ? tensor_of(descriptor)->dense_bytes() : 0, false);
}

gapless_sim_range writes(const void* descriptor, const void* data) {
  return range_of(data, descriptor != nullptr ? tensor_of(descriptor)->dense_bytes() : 0, true);
}

gapless_sim_range scratch(const void* data, std::size_t bytes) {
  return range_of(data, bytes, true);
}

cudnnStatus_t enqueue(const char* name, cudnnHandle_t handle, std::initializer_list<gapless_sim_range> ranges) {
  if (handle == nullptr) return CUDNN_STATUS_BAD_PARAM;
  const auto* kept = reinterpret_cast<const CudnnHandle*>(handle);
  const CUresult result = gapless_sim_operation_on(name, kept->stream, ranges.begin(), ranges.size());
  return result == CUDA_SUCCESS ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}

}  // namespace

GAPLESS_SIM_CUDNN cudnnConvolutionForward(cudnnHandle_t handle, const void*, const cudnnTensorDescriptor_t x_is,
                                          const void* x, const cudnnFilterDescriptor_t w_is, const void* w,
                                          const cudnnConvolutionDescriptor_t, cudnnConvolutionFwdAlgo_t,
                                          void* workspace, size_t bytes, const void*,
                                          const cudnnTensorDescriptor_t y_is, void* y) {
  GAPLESS_SIM_MATHS_CALL("cudnnConvolutionForward");
  return enqueue("cudnnConvolutionForward", handle,
                 {reads(x_is, x), reads(w_is, w), scratch(workspace, bytes), writes(y_is, y)});
}

GAPLESS_SIM_CUDNN cudnnConvolutionBackwardData(cudnnHandle_t handle, const void*, const cudnnFilterDescriptor_t w_is,
                                               const void* w, const cudnnTensorDescriptor_t dy_is, const void* dy,
                                               const cudnnConvolutionDescriptor_t, cudnnConvolutionBwdDataAlgo_t,
                                               void* workspace, size_t bytes, const void*,
                                               const cudnnTensorDescriptor_t dx_is, void* dx) {
  GAPLESS_SIM_MATHS_CALL("cudnnConvolutionBackwardData");
  return enqueue("cudnnConvolutionBackwardData", handle,
                 {reads(w_is, w), reads(dy_is, dy), scratch(workspace, bytes), writes(dx_is, dx)});
}

GAPLESS_SIM_CUDNN cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void*, const cudnnTensorDescriptor_t x_is,
                                                 const void* x, const cudnnTensorDescriptor_t dy_is, const void* dy,
                                                 const cudnnConvolutionDescriptor_t, cudnnConvolutionBwdFilterAlgo_t,
                                                 void* workspace, size_t bytes, const void*,
                                                 const cudnnFilterDescriptor_t dw_is, void* dw) {
  GAPLESS_SIM_MATHS_CALL("cudnnConvolutionBackwardFilter");
  return enqueue("cudnnConvolutionBackwardFilter", handle,
                 {reads(x_is, x), reads(dy_is, dy), scratch(workspace, bytes), writes(dw_is, dw)});
}

GAPLESS_SIM_CUDNN cudnnConvolutionBiasActivationForward(
    cudnnHandle_t handle, const void*, const cudnnTensorDescriptor_t x_is, const void* x,
    const cudnnFilterDescriptor_t w_is, const void* w, const cudnnConvolutionDescriptor_t, cudnnConvolutionFwdAlgo_t,
    void* workspace, size_t bytes, const void*, const cudnnTensorDescriptor_t z_is, const void* z,
    const cudnnTensorDescriptor_t bias_is, const void* bias, const cudnnActivationDescriptor_t,
    const cudnnTensorDescriptor_t y_is, void* y) {
  GAPLESS_SIM_MATHS_CALL("cudnnConvolutionBiasActivationForward");
  return enqueue("cudnnConvolutionBiasActivationForward", handle,
                 {reads(x_is, x), reads(w_is, w), reads(z_is, z), reads(bias_is, bias), scratch(workspace, bytes),
                  writes(y_is, y)});
}

GAPLESS_SIM_CUDNN cudnnBatchNormalizationForwardTrainingEx(
    cudnnHandle_t handle, cudnnBatchNormMode_t, cudnnBatchNormOps_t, const void*, const void*,
    const cudnnTensorDescriptor_t x_is, const void* x, const cudnnTensorDescriptor_t z_is, const void* z,
    const cudnnTensorDescriptor_t y_is, void* y, const cudnnTensorDescriptor_t channel_is, const void* scale,
    const void* bias, double, void* running_mean, void* running_variance, double, void* mean, void* variance,
    cudnnActivationDescriptor_t, void* workspace, size_t bytes, void* reserve, size_t reserve_bytes) {
  GAPLESS_SIM_MATHS_CALL("cudnnBatchNormalizationForwardTrainingEx");
  return enqueue(
      "cudnnBatchNormalizationForwardTrainingEx", handle,
      {reads(x_is, x), reads(z_is, z), reads(channel_is, scale), reads(channel_is, bias), scratch(workspace, bytes),
       scratch(reserve, reserve_bytes), writes(channel_is, running_mean), writes(channel_is, running_variance),
       writes(channel_is, mean), writes(channel_is, variance), writes(y_is, y)});
}

GAPLESS_SIM_CUDNN cudnnBatchNormalizationForwardInference(cudnnHandle_t handle, cudnnBatchNormMode_t, const void*,
                                                          const void*, const cudnnTensorDescriptor_t x_is,
                                                          const void* x, const cudnnTensorDescriptor_t y_is, void* y,
                                                          const cudnnTensorDescriptor_t channel_is, const void* scale,
                                                          const void* bias, const void* mean, const void* variance,
                                                          double) {
  GAPLESS_SIM_MATHS_CALL("cudnnBatchNormalizationForwardInference");
  return enqueue("cudnnBatchNormalizationForwardInference", handle,
                 {reads(x_is, x), reads(channel_is, scale), reads(channel_is, bias), reads(channel_is, mean),
                  reads(channel_is, variance), writes(y_is, y)});
}

GAPLESS_SIM_CUDNN cudnnBatchNormalizationBackwardEx(
    cudnnHandle_t handle, cudnnBatchNormMode_t, cudnnBatchNormOps_t, const void*, const void*, const void*, const void*,
    const cudnnTensorDescriptor_t x_is, const void* x, const cudnnTensorDescriptor_t y_is, const void* y,
    const cudnnTensorDescriptor_t dy_is, const void* dy, const cudnnTensorDescriptor_t dz_is, void* dz,
    const cudnnTensorDescriptor_t dx_is, void* dx, const cudnnTensorDescriptor_t channel_is, const void* scale,
    const void* bias, void* scale_gradient, void* bias_gradient, double, const void* mean, const void* variance,
    cudnnActivationDescriptor_t, void* workspace, size_t bytes, void* reserve, size_t reserve_bytes) {
  GAPLESS_SIM_MATHS_CALL("cudnnBatchNormalizationBackwardEx");
  return enqueue(
      "cudnnBatchNormalizationBackwardEx", handle,
      {reads(x_is, x), reads(y_is, y), reads(dy_is, dy), reads(channel_is, scale), reads(channel_is, bias),
       reads(channel_is, mean), reads(channel_is, variance), scratch(workspace, bytes), scratch(reserve, reserve_bytes),
       writes(dz_is, dz), writes(dx_is, dx), writes(channel_is, scale_gradient), writes(channel_is, bias_gradient)});
}

GAPLESS_SIM_CUDNN cudnnPoolingForward(cudnnHandle_t handle, const cudnnPoolingDescriptor_t, const void*,
                                      const cudnnTensorDescriptor_t x_is, const void* x, const void*,
                                      const cudnnTensorDescriptor_t y_is, void* y) {
  GAPLESS_SIM_MATHS_CALL("cudnnPoolingForward");
  return enqueue("cudnnPoolingForward", handle, {reads(x_is, x), writes(y_is, y)});
}

// ---- recurrent networks. Sequences may be packed, and how long each is only the device knows: the inputs and outputs
// of every step are left out, the states, the weights and the scratch memory are not.

GAPLESS_SIM_CUDNN cudnnRNNForward(cudnnHandle_t handle, cudnnRNNDescriptor_t, cudnnForwardMode_t, const int32_t[],
                                  cudnnRNNDataDescriptor_t, const void*, cudnnRNNDataDescriptor_t, void*,
                                  cudnnTensorDescriptor_t h_is, const void* h_in, void* h_out,
                                  cudnnTensorDescriptor_t c_is, const void* c_in, void* c_out, size_t weight_bytes,
                                  const void* weights, size_t bytes, void* workspace, size_t reserve_bytes,
                                  void* reserve) {
  GAPLESS_SIM_MATHS_CALL("cudnnRNNForward");
  return enqueue(
      "cudnnRNNForward", handle,
      {reads(h_is, h_in), reads(c_is, c_in), range_of(weights, weight_bytes, false), scratch(workspace, bytes),
       scratch(reserve, reserve_bytes), writes(h_is, h_out), writes(c_is, c_out)});
}

GAPLESS_SIM_CUDNN cudnnRNNBackwardData_v8(cudnnHandle_t handle, cudnnRNNDescriptor_t, const int32_t[],
                                          cudnnRNNDataDescriptor_t, const void*, const void*, cudnnRNNDataDescriptor_t,
                                          void*, cudnnTensorDescriptor_t h_is, const void* h, const void* h_gradient,
                                          void* h_out, cudnnTensorDescriptor_t c_is, const void* c,
                                          const void* c_gradient, void* c_out, size_t weight_bytes, const void* weights,
                                          size_t bytes, void* workspace, size_t reserve_bytes, void* reserve) {
  GAPLESS_SIM_MATHS_CALL("cudnnRNNBackwardData_v8");
  return enqueue("cudnnRNNBackwardData_v8", handle,
                 {reads(h_is, h), reads(h_is, h_gradient), reads(c_is, c), reads(c_is, c_gradient),
                  range_of(weights, weight_bytes, false), scratch(workspace, bytes), scratch(reserve, reserve_bytes),
                  writes(h_is, h_out), writes(c_is, c_out)});
}

GAPLESS_SIM_CUDNN cudnnRNNBackwardWeights_v8(cudnnHandle_t handle, cudnnRNNDescriptor_t, cudnnWgradMode_t,
                                             const int32_t[], cudnnRNNDataDescriptor_t, const void*,
                                             cudnnTensorDescriptor_t h_is, const void* h, cudnnRNNDataDescriptor_t,
                                             const void*, size_t weight_bytes, void* weight_gradient, size_t bytes,
                                             void* workspace, size_t reserve_bytes, void* reserve) {
  GAPLESS_SIM_MATHS_CALL("cudnnRNNBackwardWeights_v8");
  return enqueue("cudnnRNNBackwardWeights_v8", handle,
                 {reads(h_is, h), range_of(weight_gradient, weight_bytes, true), scratch(workspace, bytes),
                  scratch(reserve, reserve_bytes)});
}

// SPDX-License-Identifier: Apache-2.0
// cuDNN: handle, version, and descriptors. The graph API (cudnnBackend*) is refused: gapless-sim turns PyTorch to the
// other API by TORCH_CUDNN_V8_API_DISABLED=1.
#include "simcuda/internal.hpp"
#include "simcuda/maths/cudnn_descriptors.hpp"
#include "simcuda/trampoline.hpp"

using namespace gapless::simcuda;

namespace {

struct Plain {
  int unused = 0;  // descriptors that nothing here depends on
};

}  // namespace

int gapless_sim_routine(const char* name, void* handle) {
  if (handle == nullptr) return CUDNN_STATUS_BAD_PARAM;
  const CUresult result = gapless_sim_operation(name, static_cast<CudnnHandle*>(handle)->stream);
  return result == CUDA_SUCCESS ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}

GAPLESS_SIM_CUDNN cudnnCreate(cudnnHandle_t* out) {
  GAPLESS_SIM_MATHS_CALL("cudnnCreate");
  return create_descriptor<CudnnHandle>(out);
}

GAPLESS_SIM_CUDNN cudnnDestroy(cudnnHandle_t handle) {
  GAPLESS_SIM_MATHS_CALL("cudnnDestroy");
  return destroy_descriptor<CudnnHandle>(handle);
}

GAPLESS_SIM_CUDNN cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  GAPLESS_SIM_MATHS_CALL("cudnnSetStream");
  if (handle == nullptr) return CUDNN_STATUS_BAD_PARAM;
  reinterpret_cast<CudnnHandle*>(handle)->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

GAPLESS_SIM_CUDNN cudnnGetStream(cudnnHandle_t handle, cudaStream_t* stream) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetStream");
  if (handle == nullptr || stream == nullptr) return CUDNN_STATUS_BAD_PARAM;
  *stream = reinterpret_cast<CudnnHandle*>(handle)->stream;
  return CUDNN_STATUS_SUCCESS;
}

extern "C" GAPLESS_SIM_EXPORT size_t CUDNNWINAPI cudnnGetVersion(void) {
  return CUDNN_VERSION;
}

extern "C" GAPLESS_SIM_EXPORT size_t CUDNNWINAPI cudnnGetCudartVersion(void) {
  return CUDART_VERSION;
}

GAPLESS_SIM_CUDNN cudnnGetProperty(libraryPropertyType type, int* value) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetProperty");
  if (value == nullptr) return CUDNN_STATUS_BAD_PARAM;
  *value = type == MAJOR_VERSION ? CUDNN_MAJOR : type == MINOR_VERSION ? CUDNN_MINOR : CUDNN_PATCHLEVEL;
  return CUDNN_STATUS_SUCCESS;
}

extern "C" GAPLESS_SIM_EXPORT const char* CUDNNWINAPI cudnnGetErrorString(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_SUCCESS:
      return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_BAD_PARAM:
      return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_NOT_SUPPORTED:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    default:
      return "CUDNN_STATUS_UNKNOWN";
  }
}

extern "C" GAPLESS_SIM_EXPORT void CUDNNWINAPI cudnnGetLastErrorString(char* message, size_t bytes) {
  if (message != nullptr && bytes != 0) message[0] = '\0';
}

#define GAPLESS_SIM_CUDNN_DESCRIPTOR(kind, kept)                                           \
  GAPLESS_SIM_CUDNN cudnnCreate##kind##Descriptor(cudnn##kind##Descriptor_t* out) {        \
    GAPLESS_SIM_MATHS_CALL("cudnnCreate" #kind "Descriptor");                              \
    return create_descriptor<kept>(out);                                                   \
  }                                                                                        \
  GAPLESS_SIM_CUDNN cudnnDestroy##kind##Descriptor(cudnn##kind##Descriptor_t descriptor) { \
    GAPLESS_SIM_MATHS_CALL("cudnnDestroy" #kind "Descriptor");                             \
    return destroy_descriptor<kept>(descriptor);                                           \
  }

GAPLESS_SIM_CUDNN_DESCRIPTOR(Tensor, CudnnTensor)
GAPLESS_SIM_CUDNN_DESCRIPTOR(Filter, CudnnTensor)
GAPLESS_SIM_CUDNN_DESCRIPTOR(Convolution, Plain)
GAPLESS_SIM_CUDNN_DESCRIPTOR(Activation, Plain)
GAPLESS_SIM_CUDNN_DESCRIPTOR(Dropout, Plain)
GAPLESS_SIM_CUDNN_DESCRIPTOR(Pooling, Plain)
GAPLESS_SIM_CUDNN_DESCRIPTOR(SpatialTransformer, Plain)
GAPLESS_SIM_CUDNN_DESCRIPTOR(CTCLoss, Plain)
GAPLESS_SIM_CUDNN_DESCRIPTOR(RNN, CudnnRnn)
GAPLESS_SIM_CUDNN_DESCRIPTOR(RNNData, CudnnRnnData)

GAPLESS_SIM_CUDNN cudnnSetTensorNdDescriptor(cudnnTensorDescriptor_t descriptor, cudnnDataType_t type, int dimensions,
                                             const int sizes[], const int strides[]) {
  GAPLESS_SIM_MATHS_CALL("cudnnSetTensorNdDescriptor");
  GAPLESS_SIM_CUDNN_REQUIRE(descriptor != nullptr);
  return tensor_of(descriptor)->set(type, dimensions, sizes, strides);
}

GAPLESS_SIM_CUDNN cudnnGetTensorNdDescriptor(const cudnnTensorDescriptor_t descriptor, int requested,
                                             cudnnDataType_t* type, int* dimensions, int sizes[], int strides[]) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetTensorNdDescriptor");
  GAPLESS_SIM_CUDNN_REQUIRE(descriptor != nullptr && type != nullptr && dimensions != nullptr && sizes != nullptr &&
                            strides != nullptr);
  const CudnnTensor* tensor = tensor_of(descriptor);
  const int count = std::clamp(requested, 0, tensor->dimensions);
  *type = tensor->type;
  *dimensions = tensor->dimensions;
  std::copy_n(tensor->sizes, count, sizes);
  std::copy_n(tensor->strides, count, strides);
  return CUDNN_STATUS_SUCCESS;
}

GAPLESS_SIM_CUDNN cudnnSetFilterNdDescriptor(cudnnFilterDescriptor_t descriptor, cudnnDataType_t type,
                                             cudnnTensorFormat_t format, int dimensions, const int sizes[]) {
  GAPLESS_SIM_MATHS_CALL("cudnnSetFilterNdDescriptor");
  GAPLESS_SIM_CUDNN_REQUIRE(descriptor != nullptr);
  tensor_of(descriptor)->format = format;
  return tensor_of(descriptor)->set(type, dimensions, sizes, nullptr);
}

GAPLESS_SIM_CUDNN cudnnGetFilterNdDescriptor(const cudnnFilterDescriptor_t descriptor, int requested,
                                             cudnnDataType_t* type, cudnnTensorFormat_t* format, int* dimensions,
                                             int sizes[]) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetFilterNdDescriptor");
  GAPLESS_SIM_CUDNN_REQUIRE(descriptor != nullptr && type != nullptr && format != nullptr && dimensions != nullptr &&
                            sizes != nullptr);
  const CudnnTensor* filter = tensor_of(descriptor);
  *type = filter->type;
  *format = filter->format;
  *dimensions = filter->dimensions;
  std::copy_n(filter->sizes, std::clamp(requested, 0, filter->dimensions), sizes);
  return CUDNN_STATUS_SUCCESS;
}

GAPLESS_SIM_CUDNN cudnnDropoutGetStatesSize(cudnnHandle_t, size_t* bytes) {
  GAPLESS_SIM_MATHS_CALL("cudnnDropoutGetStatesSize");
  GAPLESS_SIM_CUDNN_REQUIRE(bytes != nullptr);
  *bytes = 1u << 20;  // a generator's state for each resident thread; the real size depends on the device
  return CUDNN_STATUS_SUCCESS;
}

GAPLESS_SIM_CUDNN cudnnDropoutGetReserveSpaceSize(cudnnTensorDescriptor_t input, size_t* bytes) {
  GAPLESS_SIM_MATHS_CALL("cudnnDropoutGetReserveSpaceSize");
  GAPLESS_SIM_CUDNN_REQUIRE(input != nullptr && bytes != nullptr);
  *bytes = tensor_of(input)->bytes() / tensor_of(input)->element_bytes() / 8 + 1;  // a mask bit for each element
  return CUDNN_STATUS_SUCCESS;
}

// ---- the graph API

GAPLESS_SIM_CUDNN cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t, cudnnBackendDescriptor_t* out) {
  GAPLESS_SIM_MATHS_CALL("cudnnBackendCreateDescriptor");
  if (out != nullptr) *out = nullptr;
  return CUDNN_STATUS_NOT_SUPPORTED;
}

GAPLESS_SIM_CUDNN cudnnBackendFinalize(cudnnBackendDescriptor_t) {
  GAPLESS_SIM_MATHS_CALL("cudnnBackendFinalize");
  return CUDNN_STATUS_NOT_SUPPORTED;
}

GAPLESS_SIM_CUDNN cudnnBackendExecute(cudnnHandle_t, cudnnBackendDescriptor_t, cudnnBackendDescriptor_t) {
  GAPLESS_SIM_MATHS_CALL("cudnnBackendExecute");
  return CUDNN_STATUS_NOT_SUPPORTED;
}

GAPLESS_SIM_CUDNN cudnnBackendSetAttribute(cudnnBackendDescriptor_t, cudnnBackendAttributeName_t,
                                           cudnnBackendAttributeType_t, int64_t, const void*) {
  GAPLESS_SIM_MATHS_CALL("cudnnBackendSetAttribute");
  return CUDNN_STATUS_NOT_SUPPORTED;
}

GAPLESS_SIM_CUDNN cudnnBackendGetAttribute(cudnnBackendDescriptor_t const, cudnnBackendAttributeName_t,
                                           cudnnBackendAttributeType_t, int64_t, int64_t*, void*) {
  GAPLESS_SIM_MATHS_CALL("cudnnBackendGetAttribute");
  return CUDNN_STATUS_NOT_SUPPORTED;
}

// SPDX-License-Identifier: Apache-2.0
// Recurrent networks: where each weight lies in the weight space, and how much scratch memory a pass takes. The layout
// is this library's own: per pseudo-layer the input matrices of all gates, the recurrent ones, the projection, then the
// biases in the same order. Scratch sizes are a rule of the simulation, not a measurement (see cudnn_sizes.cpp): a pass
// keeps the gates' activations and the cell state of every time step.
#include "simcuda/maths/cudnn_descriptors.hpp"

using namespace gapless::simcuda;

namespace {

constexpr int kProjection = 8;  // linLayerID of an LSTM's projection

std::size_t size(int value) {
  return static_cast<std::size_t>(std::max(value, 0));
}

CudnnRnn* rnn_of(cudnnRNNDescriptor_t descriptor) {
  return reinterpret_cast<CudnnRnn*>(descriptor);
}

int gates_of(const CudnnRnn& rnn) {
  switch (rnn.mode) {
    case CUDNN_LSTM:
      return 4;
    case CUDNN_GRU:
      return 3;
    default:
      return 1;
  }
}

int directions_of(const CudnnRnn& rnn) {
  return rnn.direction == CUDNN_BIDIRECTIONAL ? 2 : 1;
}

// What a layer hands on: the projected state where there is a projection.
int output_of(const CudnnRnn& rnn) {
  return rnn.projected_size > 0 ? rnn.projected_size : rnn.hidden_size;
}

int input_of(const CudnnRnn& rnn, int pseudo_layer) {
  return pseudo_layer < directions_of(rnn) ? rnn.input_size : output_of(rnn) * directions_of(rnn);
}

bool projects(const CudnnRnn& rnn) {
  return rnn.mode == CUDNN_LSTM && rnn.projected_size > 0 && rnn.projected_size < rnn.hidden_size;
}

std::size_t matrix_elements(const CudnnRnn& rnn, int pseudo_layer) {
  const std::size_t hidden = size(rnn.hidden_size);
  const std::size_t gates = size(gates_of(rnn));
  const std::size_t projection = projects(rnn) ? hidden * size(rnn.projected_size) : 0;
  return gates * hidden * (size(input_of(rnn, pseudo_layer)) + size(output_of(rnn))) + projection;
}

std::size_t bias_elements(const CudnnRnn& rnn) {
  const std::size_t one = size(gates_of(rnn)) * size(rnn.hidden_size);
  switch (rnn.bias) {
    case CUDNN_RNN_NO_BIAS:
      return 0;
    case CUDNN_RNN_DOUBLE_BIAS:
      return 2 * one;
    default:
      return one;
  }
}

std::size_t element_bytes(const CudnnRnn& rnn) {
  CudnnTensor tensor;
  tensor.type = rnn.type;
  return tensor.element_bytes();
}

std::size_t layer_start(const CudnnRnn& rnn, int pseudo_layer) {
  std::size_t elements = 0;
  for (int before = 0; before < pseudo_layer; ++before) elements += matrix_elements(rnn, before) + bias_elements(rnn);
  return elements;
}

void describe(cudnnTensorDescriptor_t out, const CudnnRnn& rnn, int rows, int columns) {
  if (out == nullptr) return;
  const int sizes[] = {1, rows, columns};
  const int strides[] = {rows * columns, columns, 1};
  tensor_of(out)->set(rnn.type, 3, sizes, strides);
}

void absent(cudnnTensorDescriptor_t out, void** address) {
  if (out != nullptr) tensor_of(out)->dimensions = 0;
  if (address != nullptr) *address = nullptr;
}

}  // namespace

GAPLESS_SIM_CUDNN cudnnSetRNNDescriptor_v8(cudnnRNNDescriptor_t descriptor, cudnnRNNAlgo_t, cudnnRNNMode_t mode,
                                           cudnnRNNBiasMode_t bias, cudnnDirectionMode_t direction, cudnnRNNInputMode_t,
                                           cudnnDataType_t type, cudnnDataType_t, cudnnMathType_t, int32_t input_size,
                                           int32_t hidden_size, int32_t projected_size, int32_t layers,
                                           cudnnDropoutDescriptor_t, uint32_t) {
  GAPLESS_SIM_MATHS_CALL("cudnnSetRNNDescriptor_v8");
  if (descriptor == nullptr || input_size < 1 || hidden_size < 1 || layers < 1) return CUDNN_STATUS_BAD_PARAM;
  *rnn_of(descriptor) = {mode, bias, direction, type, input_size, hidden_size, projected_size, layers};
  return CUDNN_STATUS_SUCCESS;
}

GAPLESS_SIM_CUDNN cudnnSetRNNDataDescriptor(cudnnRNNDataDescriptor_t descriptor, cudnnDataType_t type,
                                            cudnnRNNDataLayout_t, int max_length, int batch, int vector, const int[],
                                            void*) {
  GAPLESS_SIM_MATHS_CALL("cudnnSetRNNDataDescriptor");
  if (descriptor == nullptr || max_length < 1 || batch < 1 || vector < 1) return CUDNN_STATUS_BAD_PARAM;
  *reinterpret_cast<CudnnRnnData*>(descriptor) = {type, max_length, batch, vector};
  return CUDNN_STATUS_SUCCESS;
}

GAPLESS_SIM_CUDNN cudnnGetRNNWeightSpaceSize(cudnnHandle_t, cudnnRNNDescriptor_t descriptor, size_t* bytes) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetRNNWeightSpaceSize");
  if (descriptor == nullptr || bytes == nullptr) return CUDNN_STATUS_BAD_PARAM;
  const CudnnRnn& rnn = *rnn_of(descriptor);
  *bytes = layer_start(rnn, rnn.layers * directions_of(rnn)) * element_bytes(rnn);
  return CUDNN_STATUS_SUCCESS;
}

GAPLESS_SIM_CUDNN cudnnGetRNNWeightParams(cudnnHandle_t, cudnnRNNDescriptor_t descriptor, int32_t pseudo_layer,
                                          size_t weight_bytes, const void* weights, int32_t linear,
                                          cudnnTensorDescriptor_t matrix, void** matrix_address,
                                          cudnnTensorDescriptor_t bias, void** bias_address) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetRNNWeightParams");
  if (descriptor == nullptr) return CUDNN_STATUS_BAD_PARAM;
  const CudnnRnn& rnn = *rnn_of(descriptor);
  const int gates = gates_of(rnn);
  if (pseudo_layer < 0 || pseudo_layer >= rnn.layers * directions_of(rnn)) return CUDNN_STATUS_BAD_PARAM;
  const bool projection = linear == kProjection;
  if (linear < 0 || (linear >= 2 * gates && !projection)) return CUDNN_STATUS_BAD_PARAM;

  const std::size_t hidden = size(rnn.hidden_size);
  const std::size_t input_matrix = hidden * size(input_of(rnn, pseudo_layer));
  const std::size_t recurrent_matrix = hidden * size(output_of(rnn));
  const std::size_t start = layer_start(rnn, pseudo_layer);
  const auto address = [&](std::size_t element) {
    return const_cast<char*>(static_cast<const char*>(weights)) + element * element_bytes(rnn);
  };
  if (layer_start(rnn, pseudo_layer + 1) * element_bytes(rnn) > weight_bytes) return CUDNN_STATUS_BAD_PARAM;

  if (projection && !projects(rnn)) {
    absent(matrix, matrix_address);
  } else {
    const bool recurrent = !projection && linear >= gates;
    const std::size_t offset = projection  ? size(gates) * (input_matrix + recurrent_matrix)
                               : recurrent ? size(gates) * input_matrix + size(linear - gates) * recurrent_matrix
                                           : size(linear) * input_matrix;
    const int rows = projection ? rnn.projected_size : rnn.hidden_size;
    const int columns = projection ? rnn.hidden_size : recurrent ? output_of(rnn) : input_of(rnn, pseudo_layer);
    describe(matrix, rnn, rows, columns);
    if (matrix_address != nullptr) *matrix_address = address(start + offset);
  }

  const bool input_side = linear < gates;
  const bool has_bias =
      !projection && (rnn.bias == CUDNN_RNN_DOUBLE_BIAS || (rnn.bias == CUDNN_RNN_SINGLE_INP_BIAS && input_side) ||
                      (rnn.bias == CUDNN_RNN_SINGLE_REC_BIAS && !input_side));
  if (!has_bias) {
    absent(bias, bias_address);
    return CUDNN_STATUS_SUCCESS;
  }
  const int place = rnn.bias == CUDNN_RNN_SINGLE_REC_BIAS ? linear - gates : linear;
  describe(bias, rnn, rnn.hidden_size, 1);
  if (bias_address != nullptr)
    *bias_address = address(start + matrix_elements(rnn, pseudo_layer) + size(place) * hidden);
  return CUDNN_STATUS_SUCCESS;
}

GAPLESS_SIM_CUDNN cudnnGetRNNTempSpaceSizes(cudnnHandle_t, cudnnRNNDescriptor_t descriptor, cudnnForwardMode_t mode,
                                            cudnnRNNDataDescriptor_t input, size_t* workspace, size_t* reserve) {
  GAPLESS_SIM_MATHS_CALL("cudnnGetRNNTempSpaceSizes");
  if (descriptor == nullptr || input == nullptr) return CUDNN_STATUS_BAD_PARAM;
  const CudnnRnn& rnn = *rnn_of(descriptor);
  const auto* data = reinterpret_cast<CudnnRnnData*>(input);
  const std::size_t step = size(data->max_length) * size(data->batch) * size(rnn.hidden_size) * element_bytes(rnn);
  const std::size_t pass = step * size(gates_of(rnn) + 1) * size(directions_of(rnn));
  if (workspace != nullptr) *workspace = pass;
  if (reserve != nullptr) *reserve = mode == CUDNN_FWD_MODE_TRAINING ? pass * size(rnn.layers) : 0;
  return CUDNN_STATUS_SUCCESS;
}

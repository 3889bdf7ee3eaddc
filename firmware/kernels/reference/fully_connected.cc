// FULLY_CONNECTED for int8 with one scale for each output channel, as today's converters write it; all else by the
// runtime's own kernel.
#include <algorithm>

#include "kernels/common/fully_connected.h"
#include "tensorflow/lite/kernels/internal/common.h"

namespace tinysim {
namespace reference {
namespace {

Fallback Reference() { return Fallback(tflite::ops::micro::Register_FULLY_CONNECTED()); }

bool IsPerChannel(const TfLiteTensor* input, const TfLiteTensor* filter) {
  return IsInt8(input) && Affine(filter) != nullptr && Affine(filter)->scale->size > 1;
}

bool IsOurs(TfLiteContext* context, TfLiteNode* node) {
  return IsPerChannel(tflite::GetInput(context, node, 0), tflite::GetInput(context, node, 1));
}

void* Init(TfLiteContext* context, const char* buffer, size_t length) {
  typedef TfLiteFullyConnectedParams Params;
  if (!IsPerChannel(InputAtInit<Params>(context, buffer, 0), InputAtInit<Params>(context, buffer, 1))) {
    return Reference().Init(context, buffer, length);
  }
  return InitFullyConnected(context, buffer);
}

TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  return IsOurs(context, node) ? PrepareFullyConnected(context, node) : Reference().Prepare(context, node);
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  if (!IsOurs(context, node)) return Reference().Invoke(context, node);
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  const TfLiteTensor* filter = tflite::GetInput(context, node, 1);
  const TfLiteTensor* bias_tensor = tflite::GetOptionalInputTensor(context, node, 2);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const ChannelQuantization& channels = static_cast<const FullyConnectedData*>(node->user_data)->channels;
  const FullyConnectedShape shape = ShapeOf(filter, output);
  const int32_t input_offset = -input->params.zero_point;
  const int8_t* vectors = tflite::GetTensorData<int8_t>(input);
  const int8_t* weights = tflite::GetTensorData<int8_t>(filter);
  const int32_t* bias = tflite::GetTensorData<int32_t>(bias_tensor);
  int8_t* result = tflite::GetTensorData<int8_t>(output);

  for (int row = 0; row < shape.rows; ++row) {
    for (int column = 0; column < shape.columns; ++column) {
      int32_t sum = 0;
      for (int i = 0; i < shape.depth; ++i) {
        sum += weights[column * shape.depth + i] * (vectors[row * shape.depth + i] + input_offset);
      }
      if (bias != nullptr) sum += bias[column];
      sum = tflite::MultiplyByQuantizedMultiplier(sum, channels.multiplier[column], channels.shift[column]);
      sum += output->params.zero_point;
      sum = std::min(std::max(sum, channels.activation_min), channels.activation_max);
      result[row * shape.columns + column] = static_cast<int8_t>(sum);
    }
  }
  return kTfLiteOk;
}

}  // namespace

TfLiteRegistration* Register_FULLY_CONNECTED() {
  static TfLiteRegistration registration = MakeRegistration(Init, Prepare, Invoke);
  return &registration;
}

}  // namespace reference
}  // namespace tinysim

// RELU and RELU6 of int8 whose output has a scale of its own, which this version of the runtime ignores. Other types by
// the runtime's own kernels.
#include <algorithm>

#include "kernels/common/kernel.h"
#include "tensorflow/lite/kernels/internal/common.h"

namespace tinysim {
namespace reference {
namespace {

struct Data {
  int32_t multiplier;
  int shift;
  int32_t activation_min, activation_max;
};

Fallback Relu() { return Fallback(tflite::ops::micro::Register_RELU()); }
Fallback Relu6() { return Fallback(tflite::ops::micro::Register_RELU6()); }

void* Init(TfLiteContext* context, const char*, size_t) { return AllocatePersistent<Data>(context); }

TfLiteStatus PrepareInt8(TfLiteContext* context, TfLiteNode* node, TfLiteFusedActivation activation) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  TF_LITE_ENSURE_TYPES_EQ(context, output->type, kTfLiteInt8);
  Data* data = static_cast<Data*>(node->user_data);
  tflite::QuantizeMultiplier(static_cast<double>(input->params.scale / output->params.scale), &data->multiplier,
                             &data->shift);
  return tflite::CalculateActivationRangeQuantized(context, activation, output, &data->activation_min,
                                                   &data->activation_max);
}

TfLiteStatus PrepareRelu(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE(context, node->user_data != nullptr);
  if (!IsInt8(tflite::GetInput(context, node, 0))) return Relu().Prepare(context, node);
  return PrepareInt8(context, node, kTfLiteActRelu);
}

TfLiteStatus PrepareRelu6(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE(context, node->user_data != nullptr);
  if (!IsInt8(tflite::GetInput(context, node, 0))) return Relu6().Prepare(context, node);
  return PrepareInt8(context, node, kTfLiteActRelu6);
}

TfLiteStatus InvokeInt8(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const Data& data = *static_cast<const Data*>(node->user_data);
  const int8_t* from = tflite::GetTensorData<int8_t>(input);
  int8_t* to = tflite::GetTensorData<int8_t>(output);
  const int count = static_cast<int>(tflite::NumElements(input));
  for (int i = 0; i < count; ++i) {
    const int32_t value = output->params.zero_point + tflite::MultiplyByQuantizedMultiplier(
                                                          from[i] - input->params.zero_point, data.multiplier, data.shift);
    to[i] = static_cast<int8_t>(std::min(std::max(value, data.activation_min), data.activation_max));
  }
  return kTfLiteOk;
}

TfLiteStatus InvokeRelu(TfLiteContext* context, TfLiteNode* node) {
  if (!IsInt8(tflite::GetInput(context, node, 0))) return Relu().Invoke(context, node);
  return InvokeInt8(context, node);
}

TfLiteStatus InvokeRelu6(TfLiteContext* context, TfLiteNode* node) {
  if (!IsInt8(tflite::GetInput(context, node, 0))) return Relu6().Invoke(context, node);
  return InvokeInt8(context, node);
}

}  // namespace

TfLiteRegistration* Register_RELU() {
  static TfLiteRegistration registration = MakeRegistration(Init, PrepareRelu, InvokeRelu);
  return &registration;
}

TfLiteRegistration* Register_RELU6() {
  static TfLiteRegistration registration = MakeRegistration(Init, PrepareRelu6, InvokeRelu6);
  return &registration;
}

}  // namespace reference
}  // namespace tinysim

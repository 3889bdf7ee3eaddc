// SOFTMAX by CMSIS-NN for int8; other types by the runtime's own kernel.
#include "kernels/cmsis_nn/cmsis_nn.h"

namespace tinysim {
namespace cmsis_nn {
namespace {

struct Data {
  int32_t multiplier;
  int32_t shift;
  int32_t difference_min;
};

constexpr int kScaledDiffIntegerBits = 5;  // as in the runtime's softmax.cc, and in CMSIS-NN's

Fallback Reference() { return Fallback(tflite::ops::micro::Register_SOFTMAX()); }

bool IsOurs(TfLiteContext* context, TfLiteNode* node) {
  return IsInt8(tflite::GetInput(context, node, 0)) && IsInt8(tflite::GetOutput(context, node, 0));
}

void* Init(TfLiteContext* context, const char*, size_t) { return AllocatePersistent<Data>(context); }

TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE(context, node->user_data != nullptr);
  if (!IsOurs(context, node)) return Reference().Prepare(context, node);
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  const TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const auto* options = static_cast<const TfLiteSoftmaxParams*>(node->builtin_data);
  Data* data = static_cast<Data*>(node->user_data);
  TF_LITE_ENSURE_EQ(context, output->params.zero_point, -128);
  TF_LITE_ENSURE(context, output->params.scale == 1.f / 256);
  int shift = 0;
  tflite::PreprocessSoftmaxScaling(static_cast<double>(options->beta), static_cast<double>(input->params.scale),
                                   kScaledDiffIntegerBits, &data->multiplier, &shift);
  data->shift = shift;
  data->difference_min = -1 * tflite::CalculateInputRadius(kScaledDiffIntegerBits, shift);
  return kTfLiteOk;
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  if (!IsOurs(context, node)) return Reference().Invoke(context, node);
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  const Data* data = static_cast<const Data*>(node->user_data);
  const int32_t row = input->dims->data[input->dims->size - 1];
  arm_softmax_s8(tflite::GetTensorData<int8_t>(input), static_cast<int32_t>(tflite::NumElements(input)) / row, row,
                 data->multiplier, data->shift, data->difference_min,
                 tflite::GetTensorData<int8_t>(tflite::GetOutput(context, node, 0)));
  return kTfLiteOk;
}

}  // namespace

TfLiteRegistration* Register_SOFTMAX() {
  static TfLiteRegistration registration = MakeRegistration(Init, Prepare, Invoke);
  return &registration;
}

}  // namespace cmsis_nn
}  // namespace tinysim

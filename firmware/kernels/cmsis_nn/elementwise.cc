// ADD and MUL by CMSIS-NN for int8 tensors of one shape; broadcasts and other types by the runtime's own kernels.
#include <algorithm>

#include "kernels/cmsis_nn/cmsis_nn.h"

namespace tinysim {
namespace cmsis_nn {
namespace {

constexpr int kAddLeftShift = 20;  // as in the runtime's add.cc

struct AddData {
  int32_t multiplier1, multiplier2, multiplier;
  int shift1, shift2, shift;
  int32_t activation_min, activation_max;
};

struct MulData {
  int32_t multiplier;
  int shift;
  int32_t activation_min, activation_max;
};

Fallback ReferenceAdd() { return Fallback(tflite::ops::micro::Register_ADD()); }
Fallback ReferenceMul() { return Fallback(tflite::ops::micro::Register_MUL()); }

bool IsOurs(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* input1 = tflite::GetInput(context, node, 0);
  const TfLiteTensor* input2 = tflite::GetInput(context, node, 1);
  return IsInt8(input1) && IsInt8(input2) && tflite::HaveSameShapes(input1, input2);
}

template <typename Data>
void* Init(TfLiteContext* context, const char*, size_t) {
  return AllocatePersistent<Data>(context);
}

TfLiteStatus PrepareAdd(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE(context, node->user_data != nullptr);
  if (!IsOurs(context, node)) return ReferenceAdd().Prepare(context, node);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  TF_LITE_ENSURE_TYPES_EQ(context, output->type, kTfLiteInt8);
  AddData* data = static_cast<AddData*>(node->user_data);
  const double scale1 = static_cast<double>(tflite::GetInput(context, node, 0)->params.scale);
  const double scale2 = static_cast<double>(tflite::GetInput(context, node, 1)->params.scale);
  const double twice_max = 2 * std::max(scale1, scale2);
  tflite::QuantizeMultiplierSmallerThanOneExp(scale1 / twice_max, &data->multiplier1, &data->shift1);
  tflite::QuantizeMultiplierSmallerThanOneExp(scale2 / twice_max, &data->multiplier2, &data->shift2);
  tflite::QuantizeMultiplierSmallerThanOneExp(
      twice_max / ((1 << kAddLeftShift) * static_cast<double>(output->params.scale)), &data->multiplier, &data->shift);
  const auto* options = static_cast<const TfLiteAddParams*>(node->builtin_data);
  return tflite::CalculateActivationRangeQuantized(context, options->activation, output, &data->activation_min,
                                                   &data->activation_max);
}

TfLiteStatus InvokeAdd(TfLiteContext* context, TfLiteNode* node) {
  if (!IsOurs(context, node)) return ReferenceAdd().Invoke(context, node);
  const TfLiteTensor* input1 = tflite::GetInput(context, node, 0);
  const TfLiteTensor* input2 = tflite::GetInput(context, node, 1);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const AddData* data = static_cast<const AddData*>(node->user_data);
  return Status(context, arm_elementwise_add_s8(
                             tflite::GetTensorData<int8_t>(input1), tflite::GetTensorData<int8_t>(input2),
                             -input1->params.zero_point, data->multiplier1, data->shift1, -input2->params.zero_point,
                             data->multiplier2, data->shift2, kAddLeftShift, tflite::GetTensorData<int8_t>(output),
                             output->params.zero_point, data->multiplier, data->shift, data->activation_min,
                             data->activation_max, static_cast<int32_t>(tflite::NumElements(output))));
}

TfLiteStatus PrepareMul(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE(context, node->user_data != nullptr);
  if (!IsOurs(context, node)) return ReferenceMul().Prepare(context, node);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  TF_LITE_ENSURE_TYPES_EQ(context, output->type, kTfLiteInt8);
  MulData* data = static_cast<MulData*>(node->user_data);
  const double scale1 = static_cast<double>(tflite::GetInput(context, node, 0)->params.scale);
  const double scale2 = static_cast<double>(tflite::GetInput(context, node, 1)->params.scale);
  tflite::QuantizeMultiplier(scale1 * scale2 / static_cast<double>(output->params.scale), &data->multiplier,
                             &data->shift);
  const auto* options = static_cast<const TfLiteMulParams*>(node->builtin_data);
  return tflite::CalculateActivationRangeQuantized(context, options->activation, output, &data->activation_min,
                                                   &data->activation_max);
}

TfLiteStatus InvokeMul(TfLiteContext* context, TfLiteNode* node) {
  if (!IsOurs(context, node)) return ReferenceMul().Invoke(context, node);
  const TfLiteTensor* input1 = tflite::GetInput(context, node, 0);
  const TfLiteTensor* input2 = tflite::GetInput(context, node, 1);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const MulData* data = static_cast<const MulData*>(node->user_data);
  return Status(context, arm_elementwise_mul_s8(
                             tflite::GetTensorData<int8_t>(input1), tflite::GetTensorData<int8_t>(input2),
                             -input1->params.zero_point, -input2->params.zero_point,
                             tflite::GetTensorData<int8_t>(output), output->params.zero_point, data->multiplier,
                             data->shift, data->activation_min, data->activation_max,
                             static_cast<int32_t>(tflite::NumElements(output))));
}

}  // namespace

TfLiteRegistration* Register_ADD() {
  static TfLiteRegistration registration = MakeRegistration(Init<AddData>, PrepareAdd, InvokeAdd);
  return &registration;
}

TfLiteRegistration* Register_MUL() {
  static TfLiteRegistration registration = MakeRegistration(Init<MulData>, PrepareMul, InvokeMul);
  return &registration;
}

}  // namespace cmsis_nn
}  // namespace tinysim

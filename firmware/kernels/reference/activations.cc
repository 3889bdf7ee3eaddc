// LEAKY_RELU and HARD_SWISH of float and int8, which this version of the runtime lacks.
#include <algorithm>
#include <cmath>

#include "kernels/common/kernel.h"
#include "tensorflow/lite/kernels/internal/common.h"

namespace tinysim {
namespace reference {
namespace {

int8_t Clamp(int32_t value) { return static_cast<int8_t>(std::min<int32_t>(std::max<int32_t>(value, -128), 127)); }

TfLiteStatus EnsureTypes(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE(context, node->user_data != nullptr);
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  TF_LITE_ENSURE(context, input->type == kTfLiteFloat32 || input->type == kTfLiteInt8);
  TF_LITE_ENSURE_TYPES_EQ(context, input->type, tflite::GetOutput(context, node, 0)->type);
  return kTfLiteOk;
}

struct LeakyData {
  int32_t multiplier_above, multiplier_below;
  int shift_above, shift_below;
};

void* InitLeaky(TfLiteContext* context, const char*, size_t) { return AllocatePersistent<LeakyData>(context); }

// As LeakyReluPrepare of TensorFlow Lite: one multiplier for each side of zero.
TfLiteStatus PrepareLeaky(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE_STATUS(EnsureTypes(context, node));
  const auto* options = static_cast<const TfLiteLeakyReluParams*>(node->builtin_data);
  LeakyData* data = static_cast<LeakyData*>(node->user_data);
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  if (!IsInt8(input)) return kTfLiteOk;
  const double above = static_cast<double>(input->params.scale / tflite::GetOutput(context, node, 0)->params.scale);
  const double below = static_cast<double>(input->params.scale * options->alpha /
                                           tflite::GetOutput(context, node, 0)->params.scale);
  tflite::QuantizeMultiplier(above, &data->multiplier_above, &data->shift_above);
  tflite::QuantizeMultiplier(below, &data->multiplier_below, &data->shift_below);
  return kTfLiteOk;
}

TfLiteStatus InvokeLeaky(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const int count = static_cast<int>(tflite::NumElements(input));
  if (!IsInt8(input)) {
    const float alpha = static_cast<const TfLiteLeakyReluParams*>(node->builtin_data)->alpha;
    const float* from = tflite::GetTensorData<float>(input);
    float* to = tflite::GetTensorData<float>(output);
    for (int i = 0; i < count; ++i) to[i] = from[i] > 0 ? from[i] : from[i] * alpha;
    return kTfLiteOk;
  }
  const LeakyData& data = *static_cast<const LeakyData*>(node->user_data);
  const int8_t* from = tflite::GetTensorData<int8_t>(input);
  int8_t* to = tflite::GetTensorData<int8_t>(output);
  for (int i = 0; i < count; ++i) {
    const int32_t value = from[i] - input->params.zero_point;
    const bool above = value >= 0;
    to[i] = Clamp(output->params.zero_point +
                  tflite::MultiplyByQuantizedMultiplier(value, above ? data.multiplier_above : data.multiplier_below,
                                                        above ? data.shift_above : data.shift_below));
  }
  return kTfLiteOk;
}

// HARD_SWISH of int8 in 16-bit fixed point. The arithmetic is reference_ops::HardSwish of TensorFlow Lite, step by step,
// so that the outputs are the same bits.
struct SwishData {
  int16_t ramp_multiplier;  // from the input, shifted left by 7, to the scale on which 3.0 is 32768
  int ramp_exponent;
  int16_t output_multiplier;  // from the input, shifted left by 7, to the output
  int output_exponent;
};

constexpr int kHighResolutionShift = 7;

int16_t Saturate16(int32_t value) {
  return static_cast<int16_t>(std::min<int32_t>(std::max<int32_t>(value, INT16_MIN), INT16_MAX));
}

int16_t RoundingDoublingHigh(int16_t a, int16_t b) {
  if (a == INT16_MIN && b == INT16_MIN) return INT16_MAX;
  const int32_t product = static_cast<int32_t>(a) * b;
  const int32_t nudge = product >= 0 ? 1 << 14 : 1 - (1 << 14);
  return static_cast<int16_t>((product + nudge) / (1 << 15));
}

int16_t TruncatingDoublingHigh(int16_t a, int16_t b) {
  if (a == INT16_MIN && b == INT16_MIN) return INT16_MAX;
  return static_cast<int16_t>(static_cast<int32_t>(a) * b / (1 << 15));
}

int16_t RoundingShiftRight(int16_t value, int exponent) {
  const int32_t mask = (1 << exponent) - 1;
  const int32_t threshold = (mask >> 1) + (value < 0 ? 1 : 0);
  return static_cast<int16_t>((value >> exponent) + ((value & mask) > threshold ? 1 : 0));
}

int16_t HalfOf(int32_t multiplier) {  // DownScaleInt32ToInt16Multiplier
  if (multiplier >= INT32_MAX - (1 << 15)) return INT16_MAX;
  return static_cast<int16_t>((multiplier + (1 << 15)) >> 16);
}

void* InitSwish(TfLiteContext* context, const char*, size_t) { return AllocatePersistent<SwishData>(context); }

TfLiteStatus PrepareSwish(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE_STATUS(EnsureTypes(context, node));
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  if (!IsInt8(input)) return kTfLiteOk;
  SwishData* data = static_cast<SwishData*>(node->user_data);
  const float fine_scale = (1.0f / (1 << kHighResolutionShift)) * input->params.scale;
  const float ramp_scale = 3.0f / 32768.0f;
  int32_t multiplier;
  tflite::QuantizeMultiplier(static_cast<double>(fine_scale / tflite::GetOutput(context, node, 0)->params.scale),
                             &multiplier, &data->output_exponent);
  data->output_multiplier = HalfOf(multiplier);
  TF_LITE_ENSURE(context, data->output_exponent <= 0);
  tflite::QuantizeMultiplier(static_cast<double>(fine_scale / ramp_scale), &multiplier, &data->ramp_exponent);
  data->ramp_multiplier = HalfOf(multiplier);
  return kTfLiteOk;
}

int8_t HardSwish(const SwishData& data, int32_t centred, int32_t output_zero_point) {
  const int16_t fine = static_cast<int16_t>(centred * (1 << kHighResolutionShift));
  const int16_t scaled = RoundingDoublingHigh(fine, data.output_multiplier);
  int16_t ramp = fine;
  if (data.ramp_exponent > 0) ramp = Saturate16(ramp * (1 << (data.ramp_exponent - 1)));
  ramp = RoundingDoublingHigh(ramp, data.ramp_multiplier);
  if (data.ramp_exponent > 0) ramp = Saturate16(ramp * 2);
  if (data.ramp_exponent < 0) ramp = RoundingShiftRight(ramp, -data.ramp_exponent);
  ramp = static_cast<int16_t>((ramp + (1 << 15)) >> 1);  // from [-1, 1] to [0, 1]
  return Clamp(RoundingShiftRight(TruncatingDoublingHigh(ramp, scaled), -data.output_exponent) + output_zero_point);
}

TfLiteStatus InvokeSwish(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const int count = static_cast<int>(tflite::NumElements(input));
  if (!IsInt8(input)) {
    const float* from = tflite::GetTensorData<float>(input);
    float* to = tflite::GetTensorData<float>(output);
    for (int i = 0; i < count; ++i) to[i] = from[i] * std::min(6.0f, std::max(0.0f, from[i] + 3.0f)) / 6.0f;
    return kTfLiteOk;
  }
  const SwishData& data = *static_cast<const SwishData*>(node->user_data);
  const int8_t* from = tflite::GetTensorData<int8_t>(input);
  int8_t* to = tflite::GetTensorData<int8_t>(output);
  for (int i = 0; i < count; ++i) {
    to[i] = HardSwish(data, from[i] - input->params.zero_point, output->params.zero_point);
  }
  return kTfLiteOk;
}

}  // namespace

TfLiteRegistration* Register_LEAKY_RELU() {
  static TfLiteRegistration registration = MakeRegistration(InitLeaky, PrepareLeaky, InvokeLeaky);
  return &registration;
}

TfLiteRegistration* Register_HARD_SWISH() {
  static TfLiteRegistration registration = MakeRegistration(InitSwish, PrepareSwish, InvokeSwish);
  return &registration;
}

}  // namespace reference
}  // namespace tinysim

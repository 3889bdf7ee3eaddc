// A dense layer of int8, with one scale for all weights or one for each output channel (which this version of the
// runtime takes for one scale). The two flavours differ in how they multiply.
#ifndef KERNELS_COMMON_FULLY_CONNECTED_H_
#define KERNELS_COMMON_FULLY_CONNECTED_H_

#include "kernels/common/convolution.h"

namespace tinysim {

struct FullyConnectedData {
  ChannelQuantization channels;  // one entry of `multiplier` and `shift` when not `per_channel`
  bool per_channel = false;
  Scratch scratch;
};

struct FullyConnectedShape {
  int rows;     // of the input: all dimensions but those of one vector
  int depth;    // of a vector
  int columns;  // of the output
};

inline FullyConnectedShape ShapeOf(const TfLiteTensor* filter, const TfLiteTensor* output) {
  const int columns = filter->dims->data[0], depth = filter->dims->data[1];
  return {static_cast<int>(tflite::NumElements(output)) / columns, depth, columns};
}

inline void* InitFullyConnected(TfLiteContext* context, const char* buffer) {
  const TfLiteTensor* filter = InputAtInit<TfLiteFullyConnectedParams>(context, buffer, 1);
  const TfLiteAffineQuantization* affine = Affine(filter);
  const bool per_channel = affine != nullptr && affine->scale->size > 1;
  FullyConnectedData* data = AllocateWithChannels<FullyConnectedData>(context, per_channel ? affine->scale->size : 1);
  if (data != nullptr) data->per_channel = per_channel;
  return data;
}

inline TfLiteStatus PrepareFullyConnected(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE(context, node->user_data != nullptr);
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  const TfLiteTensor* filter = tflite::GetInput(context, node, 1);
  const TfLiteTensor* bias = tflite::GetOptionalInputTensor(context, node, 2);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const auto* options = static_cast<const TfLiteFullyConnectedParams*>(node->builtin_data);
  FullyConnectedData* data = static_cast<FullyConnectedData*>(node->user_data);
  TF_LITE_ENSURE_TYPES_EQ(context, filter->type, kTfLiteInt8);
  TF_LITE_ENSURE_TYPES_EQ(context, output->type, kTfLiteInt8);
  TF_LITE_ENSURE_EQ(context, options->weights_format, kTfLiteFullyConnectedWeightsFormatDefault);
  if (data->per_channel) {
    TF_LITE_ENSURE_EQ(context, Affine(filter)->quantized_dimension, 0);
    return PrepareChannels(context, input, filter, bias, output, options->activation, filter->dims->data[0],
                           &data->channels);
  }
  double scale = 0.0;
  TF_LITE_ENSURE_STATUS(tflite::GetQuantizedConvolutionMultipler(context, input, filter, bias, output, &scale));
  int shift = 0;
  tflite::QuantizeMultiplier(scale, data->channels.multiplier, &shift);
  *data->channels.shift = shift;
  return tflite::CalculateActivationRangeQuantized(context, options->activation, output,
                                                   &data->channels.activation_min, &data->channels.activation_max);
}

}  // namespace tinysim

#endif  // KERNELS_COMMON_FULLY_CONNECTED_H_

// What convolution, depthwise convolution and dense layers have in common: a requantisation for each output channel.
#ifndef KERNELS_COMMON_CONVOLUTION_H_
#define KERNELS_COMMON_CONVOLUTION_H_

#include "kernels/common/kernel.h"

namespace tinysim {

struct ChannelQuantization {
  int32_t* multiplier = nullptr;
  int32_t* shift = nullptr;  // positive: to the left
  int32_t activation_min = 0;
  int32_t activation_max = 0;
};

// Fills in multiplier and shift of `channels` channels and the limits of the fused activation.
inline TfLiteStatus PrepareChannels(TfLiteContext* context, const TfLiteTensor* input, const TfLiteTensor* filter,
                                    const TfLiteTensor* bias, TfLiteTensor* output, TfLiteFusedActivation activation,
                                    int channels, ChannelQuantization* quantization) {
  int32_t multiplier = 0;
  int shift = 0;
  return tflite::PopulateConvolutionQuantizationParams(
      context, input, filter, bias, output, activation, &multiplier, &shift, &quantization->activation_min,
      &quantization->activation_max, quantization->multiplier, reinterpret_cast<int*>(quantization->shift), channels);
}

// Operator data with the arrays of its channels behind it. T has a member `channels`.
template <typename T>
T* AllocateWithChannels(TfLiteContext* context, int channels) {
  T* data = AllocatePersistent<T>(context, 2 * channels * sizeof(int32_t));
  if (data != nullptr) {
    data->channels.multiplier = reinterpret_cast<int32_t*>(data + 1);
    data->channels.shift = data->channels.multiplier + channels;
  }
  return data;
}

}  // namespace tinysim

#endif  // KERNELS_COMMON_CONVOLUTION_H_

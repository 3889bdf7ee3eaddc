// DEPTHWISE_CONV_2D of int8 by the runtime's own arithmetic: its registration ignores the fused activation and the limits
// it computes for it. Other types by its registration.
#include "kernels/common/convolution.h"
#include "tensorflow/lite/kernels/internal/reference/integer_ops/depthwise_conv.h"

namespace tinysim {
namespace reference {
namespace {

struct Data {
  ChannelQuantization channels;
  TfLitePaddingValues padding;
};

Fallback Runtime() { return Fallback(tflite::ops::micro::Register_DEPTHWISE_CONV_2D()); }

void* Init(TfLiteContext* context, const char* buffer, size_t length) {
  typedef TfLiteDepthwiseConvParams Params;
  if (!IsInt8(InputAtInit<Params>(context, buffer, 0))) return Runtime().Init(context, buffer, length);
  return AllocateWithChannels<Data>(context, InputAtInit<Params>(context, buffer, 1)->dims->data[3]);
}

TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE(context, node->user_data != nullptr);
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  if (!IsInt8(input)) return Runtime().Prepare(context, node);
  const TfLiteTensor* filter = tflite::GetInput(context, node, 1);
  const auto* options = static_cast<const TfLiteDepthwiseConvParams*>(node->builtin_data);
  Data* data = static_cast<Data*>(node->user_data);
  TF_LITE_ENSURE_TYPES_EQ(context, filter->type, kTfLiteInt8);
  TF_LITE_ENSURE_EQ(context, filter->dims->data[3] % input->dims->data[3], 0);
  int out_height, out_width;
  data->padding = tflite::ComputePaddingHeightWidth(
      options->stride_height, options->stride_width, options->dilation_height_factor, options->dilation_width_factor,
      input->dims->data[1], input->dims->data[2], filter->dims->data[1], filter->dims->data[2], options->padding,
      &out_height, &out_width);
  return PrepareChannels(context, input, filter, tflite::GetOptionalInputTensor(context, node, 2),
                         tflite::GetOutput(context, node, 0), options->activation, filter->dims->data[3],
                         &data->channels);
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  if (!IsInt8(input)) return Runtime().Invoke(context, node);
  const TfLiteTensor* filter = tflite::GetInput(context, node, 1);
  const TfLiteTensor* bias = tflite::GetOptionalInputTensor(context, node, 2);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const auto* options = static_cast<const TfLiteDepthwiseConvParams*>(node->builtin_data);
  const Data* data = static_cast<const Data*>(node->user_data);

  tflite::DepthwiseParams params = {};
  params.padding_values.width = data->padding.width;
  params.padding_values.height = data->padding.height;
  params.stride_width = options->stride_width;
  params.stride_height = options->stride_height;
  params.dilation_width_factor = options->dilation_width_factor;
  params.dilation_height_factor = options->dilation_height_factor;
  params.depth_multiplier = filter->dims->data[3] / input->dims->data[3];
  params.input_offset = -input->params.zero_point;
  params.output_offset = output->params.zero_point;
  params.quantized_activation_min = data->channels.activation_min;
  params.quantized_activation_max = data->channels.activation_max;
  tflite::reference_integer_ops::DepthwiseConvPerChannel(
      params, data->channels.multiplier, data->channels.shift, tflite::GetTensorShape(input),
      tflite::GetTensorData<int8_t>(input), tflite::GetTensorShape(filter), tflite::GetTensorData<int8_t>(filter),
      tflite::GetTensorShape(bias), tflite::GetTensorData<int32_t>(bias), tflite::GetTensorShape(output),
      tflite::GetTensorData<int8_t>(output));
  return kTfLiteOk;
}

}  // namespace

TfLiteRegistration* Register_DEPTHWISE_CONV_2D() {
  static TfLiteRegistration registration = MakeRegistration(Init, Prepare, Invoke);
  return &registration;
}

}  // namespace reference
}  // namespace tinysim

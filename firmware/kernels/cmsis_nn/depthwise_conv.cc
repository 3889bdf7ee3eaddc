// DEPTHWISE_CONV_2D by CMSIS-NN for int8; other types by the runtime's own kernel.
#include "kernels/cmsis_nn/cmsis_nn.h"

namespace tinysim {
namespace cmsis_nn {
namespace {

struct Data {
  cmsis_nn_dw_conv_params params;
  ChannelQuantization channels;
  Scratch scratch;
};

Fallback Reference() { return Fallback(tflite::ops::micro::Register_DEPTHWISE_CONV_2D()); }

void* Init(TfLiteContext* context, const char* buffer, size_t length) {
  typedef TfLiteDepthwiseConvParams Params;
  if (!IsInt8(InputAtInit<Params>(context, buffer, 0))) return Reference().Init(context, buffer, length);
  return AllocateWithChannels<Data>(context, InputAtInit<Params>(context, buffer, 1)->dims->data[3]);
}

TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE(context, node->user_data != nullptr);
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  if (!IsInt8(input)) return Reference().Prepare(context, node);
  const TfLiteTensor* filter = tflite::GetInput(context, node, 1);
  const TfLiteTensor* bias = tflite::GetOptionalInputTensor(context, node, 2);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const auto* options = static_cast<const TfLiteDepthwiseConvParams*>(node->builtin_data);
  Data* data = static_cast<Data*>(node->user_data);
  TF_LITE_ENSURE_TYPES_EQ(context, filter->type, kTfLiteInt8);

  // The multiplier of the options is what an old converter wrote; the shapes are what counts.
  const int channels = filter->dims->data[3];
  const int multiplier = channels / input->dims->data[3];
  TF_LITE_ENSURE_EQ(context, multiplier * input->dims->data[3], channels);
  int out_height, out_width;
  const TfLitePaddingValues padding = tflite::ComputePaddingHeightWidth(
      options->stride_height, options->stride_width, options->dilation_height_factor, options->dilation_width_factor,
      input->dims->data[1], input->dims->data[2], filter->dims->data[1], filter->dims->data[2], options->padding,
      &out_height, &out_width);
  TF_LITE_ENSURE_STATUS(
      PrepareChannels(context, input, filter, bias, output, options->activation, channels, &data->channels));
  data->params = {
      -input->params.zero_point,
      output->params.zero_point,
      multiplier,
      {options->stride_width, options->stride_height},
      {padding.width, padding.height},
      {options->dilation_width_factor, options->dilation_height_factor},
      {data->channels.activation_min, data->channels.activation_max},
  };
  const cmsis_nn_dims input_dims = Dims(input), filter_dims = Dims(filter), output_dims = Dims(output);
  return data->scratch.Request(
      context, arm_depthwise_conv_wrapper_s8_get_buffer_size(&data->params, &input_dims, &filter_dims, &output_dims));
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  if (!IsInt8(input)) return Reference().Invoke(context, node);
  const TfLiteTensor* filter = tflite::GetInput(context, node, 1);
  const TfLiteTensor* bias = tflite::GetOptionalInputTensor(context, node, 2);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const Data* data = static_cast<const Data*>(node->user_data);

  const cmsis_nn_context scratch = Context(context, data->scratch);
  const cmsis_nn_per_channel_quant_params quantization = {data->channels.multiplier, data->channels.shift};
  const cmsis_nn_dims input_dims = Dims(input), filter_dims = Dims(filter), output_dims = Dims(output);
  const cmsis_nn_dims bias_dims = VectorDims(output_dims.c);
  return Status(context, arm_depthwise_conv_wrapper_s8(
                             &scratch, &data->params, &quantization, &input_dims,
                             tflite::GetTensorData<int8_t>(input), &filter_dims, tflite::GetTensorData<int8_t>(filter),
                             &bias_dims, tflite::GetTensorData<int32_t>(bias), &output_dims,
                             tflite::GetTensorData<int8_t>(output)));
}

}  // namespace

TfLiteRegistration* Register_DEPTHWISE_CONV_2D() {
  static TfLiteRegistration registration = MakeRegistration(Init, Prepare, Invoke);
  return &registration;
}

}  // namespace cmsis_nn
}  // namespace tinysim

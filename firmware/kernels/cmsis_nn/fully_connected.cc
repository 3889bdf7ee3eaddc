// FULLY_CONNECTED by CMSIS-NN for int8; other types by the runtime's own kernel.
#include "arm_nnsupportfunctions.h"
#include "kernels/cmsis_nn/cmsis_nn.h"
#include "kernels/common/fully_connected.h"

namespace tinysim {
namespace cmsis_nn {
namespace {

Fallback Reference() { return Fallback(tflite::ops::micro::Register_FULLY_CONNECTED()); }

void* Init(TfLiteContext* context, const char* buffer, size_t length) {
  if (!IsInt8(InputAtInit<TfLiteFullyConnectedParams>(context, buffer, 0))) {
    return Reference().Init(context, buffer, length);
  }
  return InitFullyConnected(context, buffer);
}

TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  if (!IsInt8(tflite::GetInput(context, node, 0))) return Reference().Prepare(context, node);
  TF_LITE_ENSURE_STATUS(PrepareFullyConnected(context, node));
  const TfLiteTensor* filter = tflite::GetInput(context, node, 1);
  TF_LITE_ENSURE_EQ(context, filter->params.zero_point, 0);  // CMSIS-NN has no offset of the weights
  const FullyConnectedShape shape = ShapeOf(filter, tflite::GetOutput(context, node, 0));
  const cmsis_nn_dims filter_dims = {shape.depth, 1, 1, shape.columns};
  return static_cast<FullyConnectedData*>(node->user_data)
      ->scratch.Request(context, arm_fully_connected_s8_get_buffer_size(&filter_dims));
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  if (!IsInt8(input)) return Reference().Invoke(context, node);
  const TfLiteTensor* filter = tflite::GetInput(context, node, 1);
  const TfLiteTensor* bias = tflite::GetOptionalInputTensor(context, node, 2);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const FullyConnectedData* data = static_cast<const FullyConnectedData*>(node->user_data);
  const FullyConnectedShape shape = ShapeOf(filter, output);
  const cmsis_nn_activation activation = {data->channels.activation_min, data->channels.activation_max};

  if (data->per_channel) {  // this CMSIS-NN has a scale for each channel in its matrix product only
    return Status(context,
                  arm_nn_mat_mult_nt_t_s8(tflite::GetTensorData<int8_t>(input), tflite::GetTensorData<int8_t>(filter),
                                          tflite::GetTensorData<int32_t>(bias), tflite::GetTensorData<int8_t>(output),
                                          data->channels.multiplier, data->channels.shift, shape.rows, shape.columns,
                                          shape.depth, -input->params.zero_point, output->params.zero_point,
                                          activation.min, activation.max, shape.depth));
  }
  const cmsis_nn_context scratch = Context(context, data->scratch);
  const cmsis_nn_fc_params params = {-input->params.zero_point, 0, output->params.zero_point, activation};
  const cmsis_nn_per_tensor_quant_params quantization = {*data->channels.multiplier, *data->channels.shift};
  const cmsis_nn_dims input_dims = {shape.rows, 1, 1, shape.depth};
  const cmsis_nn_dims filter_dims = {shape.depth, 1, 1, shape.columns};
  const cmsis_nn_dims bias_dims = VectorDims(shape.columns);
  const cmsis_nn_dims output_dims = {shape.rows, 1, 1, shape.columns};
  return Status(context, arm_fully_connected_s8(
                             &scratch, &params, &quantization, &input_dims, tflite::GetTensorData<int8_t>(input),
                             &filter_dims, tflite::GetTensorData<int8_t>(filter), &bias_dims,
                             tflite::GetTensorData<int32_t>(bias), &output_dims,
                             tflite::GetTensorData<int8_t>(output)));
}

}  // namespace

TfLiteRegistration* Register_FULLY_CONNECTED() {
  static TfLiteRegistration registration = MakeRegistration(Init, Prepare, Invoke);
  return &registration;
}

}  // namespace cmsis_nn
}  // namespace tinysim

// AVERAGE_POOL_2D and MAX_POOL_2D by CMSIS-NN for int8; other types by the runtime's own kernels.
#include "kernels/cmsis_nn/cmsis_nn.h"

namespace tinysim {
namespace cmsis_nn {
namespace {

struct Data {
  cmsis_nn_pool_params params;
  Scratch scratch;
};

Fallback Average() { return Fallback(tflite::ops::micro::Register_AVERAGE_POOL_2D()); }
Fallback Max() { return Fallback(tflite::ops::micro::Register_MAX_POOL_2D()); }

void* Init(TfLiteContext* context, const char*, size_t) { return AllocatePersistent<Data>(context); }

TfLiteStatus PreparePool(TfLiteContext* context, TfLiteNode* node, Data* data) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const auto* options = static_cast<const TfLitePoolParams*>(node->builtin_data);
  int out_height, out_width;
  const TfLitePaddingValues padding = tflite::ComputePaddingHeightWidth(
      options->stride_height, options->stride_width, 1, 1, input->dims->data[1], input->dims->data[2],
      options->filter_height, options->filter_width, options->padding, &out_height, &out_width);
  data->params.stride = {options->stride_width, options->stride_height};
  data->params.padding = {padding.width, padding.height};
  return tflite::CalculateActivationRangeQuantized(context, options->activation, output, &data->params.activation.min,
                                                   &data->params.activation.max);
}

TfLiteStatus PrepareAverage(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE(context, node->user_data != nullptr);
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  if (!IsInt8(input)) return Average().Prepare(context, node);
  Data* data = static_cast<Data*>(node->user_data);
  TF_LITE_ENSURE_STATUS(PreparePool(context, node, data));
  const TfLiteIntArray* output_dims = tflite::GetOutput(context, node, 0)->dims;
  return data->scratch.Request(context, arm_avgpool_s8_get_buffer_size(output_dims->data[2], input->dims->data[3]));
}

TfLiteStatus PrepareMax(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE(context, node->user_data != nullptr);
  if (!IsInt8(tflite::GetInput(context, node, 0))) return Max().Prepare(context, node);
  return PreparePool(context, node, static_cast<Data*>(node->user_data));
}

typedef arm_cmsis_nn_status PoolFunction(const cmsis_nn_context*, const cmsis_nn_pool_params*, const cmsis_nn_dims*,
                                         const int8_t*, const cmsis_nn_dims*, const cmsis_nn_dims*, int8_t*);

TfLiteStatus InvokePool(TfLiteContext* context, TfLiteNode* node, PoolFunction* pool) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const auto* options = static_cast<const TfLitePoolParams*>(node->builtin_data);
  const Data* data = static_cast<const Data*>(node->user_data);
  const cmsis_nn_context scratch = Context(context, data->scratch);
  const cmsis_nn_dims input_dims = Dims(input), output_dims = Dims(output);
  const cmsis_nn_dims filter_dims = {1, options->filter_height, options->filter_width, 1};
  return Status(context, pool(&scratch, &data->params, &input_dims, tflite::GetTensorData<int8_t>(input), &filter_dims,
                              &output_dims, tflite::GetTensorData<int8_t>(output)));
}

TfLiteStatus InvokeAverage(TfLiteContext* context, TfLiteNode* node) {
  if (!IsInt8(tflite::GetInput(context, node, 0))) return Average().Invoke(context, node);
  return InvokePool(context, node, arm_avgpool_s8);
}

TfLiteStatus InvokeMax(TfLiteContext* context, TfLiteNode* node) {
  if (!IsInt8(tflite::GetInput(context, node, 0))) return Max().Invoke(context, node);
  return InvokePool(context, node, arm_max_pool_s8);
}

}  // namespace

TfLiteRegistration* Register_AVERAGE_POOL_2D() {
  static TfLiteRegistration registration = MakeRegistration(Init, PrepareAverage, InvokeAverage);
  return &registration;
}

TfLiteRegistration* Register_MAX_POOL_2D() {
  static TfLiteRegistration registration = MakeRegistration(Init, PrepareMax, InvokeMax);
  return &registration;
}

}  // namespace cmsis_nn
}  // namespace tinysim

// STRIDED_SLICE of int32, as today's converters use it on shapes; other types by the runtime's own kernel.
#include "tensorflow/lite/kernels/internal/reference/strided_slice.h"

#include "kernels/common/kernel.h"

namespace tinysim {
namespace reference {
namespace {

Fallback Runtime() { return Fallback(tflite::ops::micro::Register_STRIDED_SLICE()); }

TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  const auto* options = static_cast<const TfLiteStridedSliceParams*>(node->builtin_data);
  TF_LITE_ENSURE_EQ(context, options->ellipsis_mask, 0);
  TF_LITE_ENSURE_EQ(context, options->new_axis_mask, 0);
  for (int i = 1; i <= 3; ++i) {  // the runtime computes the output's shape from them in Prepare
    TF_LITE_ENSURE(context, tflite::IsConstantTensor(tflite::GetInput(context, node, i)));
  }
  return Runtime().Prepare(context, node);
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  if (input->type != kTfLiteInt32) return Runtime().Invoke(context, node);
  const auto* options = static_cast<const TfLiteStridedSliceParams*>(node->builtin_data);
  const int dims = tflite::NumDimensions(input);
  tflite::StridedSliceParams params = {};
  params.start_indices_count = params.stop_indices_count = params.strides_count = dims;
  for (int i = 0; i < dims; ++i) {
    params.start_indices[i] = tflite::GetTensorData<int32_t>(tflite::GetInput(context, node, 1))[i];
    params.stop_indices[i] = tflite::GetTensorData<int32_t>(tflite::GetInput(context, node, 2))[i];
    params.strides[i] = tflite::GetTensorData<int32_t>(tflite::GetInput(context, node, 3))[i];
  }
  params.begin_mask = options->begin_mask;
  params.end_mask = options->end_mask;
  params.shrink_axis_mask = options->shrink_axis_mask;
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  tflite::reference_ops::StridedSlice(params, tflite::GetTensorShape(input), tflite::GetTensorData<int32_t>(input),
                                      tflite::GetTensorShape(output), tflite::GetTensorData<int32_t>(output));
  return kTfLiteOk;
}

}  // namespace

TfLiteRegistration* Register_STRIDED_SLICE() {
  static TfLiteRegistration registration = MakeRegistration(nullptr, Prepare, Invoke);
  return &registration;
}

}  // namespace reference
}  // namespace tinysim

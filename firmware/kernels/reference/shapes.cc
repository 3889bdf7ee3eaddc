// SHAPE, EXPAND_DIMS and SQUEEZE, which this version of the runtime lacks. Shapes are fixed by the converter.
#include <string.h>

#include "kernels/common/kernel.h"

namespace tinysim {
namespace reference {
namespace {

template <typename T>
void WriteShape(const TfLiteTensor* input, TfLiteTensor* output) {
  T* dims = tflite::GetTensorData<T>(output);
  for (int i = 0; i < input->dims->size; ++i) dims[i] = input->dims->data[i];
}

TfLiteStatus PrepareShape(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  TF_LITE_ENSURE_EQ(context, tflite::NumElements(output), tflite::GetInput(context, node, 0)->dims->size);
  TF_LITE_ENSURE(context, output->type == kTfLiteInt32 || output->type == kTfLiteInt64);
  return kTfLiteOk;
}

TfLiteStatus InvokeShape(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  if (output->type == kTfLiteInt32) {
    WriteShape<int32_t>(input, output);
  } else {
    WriteShape<int64_t>(input, output);
  }
  return kTfLiteOk;
}

TfLiteStatus PrepareCopy(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  const TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  TF_LITE_ENSURE_TYPES_EQ(context, input->type, output->type);
  TF_LITE_ENSURE_EQ(context, input->bytes, output->bytes);
  return kTfLiteOk;
}

TfLiteStatus InvokeCopy(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  if (output->data.raw != input->data.raw) memcpy(output->data.raw, input->data.raw, input->bytes);
  return kTfLiteOk;
}

}  // namespace

TfLiteRegistration* Register_SHAPE() {
  static TfLiteRegistration registration = MakeRegistration(nullptr, PrepareShape, InvokeShape);
  return &registration;
}

TfLiteRegistration* Register_EXPAND_DIMS() {
  static TfLiteRegistration registration = MakeRegistration(nullptr, PrepareCopy, InvokeCopy);
  return &registration;
}

TfLiteRegistration* Register_SQUEEZE() {
  static TfLiteRegistration registration = MakeRegistration(nullptr, PrepareCopy, InvokeCopy);
  return &registration;
}

}  // namespace reference
}  // namespace tinysim

// TRANSPOSE of any type of one or four bytes and at most four dimensions, which this version of the runtime lacks.
#include "kernels/common/kernel.h"

namespace tinysim {
namespace reference {
namespace {

constexpr int kDims = 4;

TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  const TfLiteTensor* order = tflite::GetInput(context, node, 1);
  const TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  TF_LITE_ENSURE_TYPES_EQ(context, input->type, output->type);
  TF_LITE_ENSURE(context, input->type == kTfLiteInt8 || input->type == kTfLiteUInt8 || input->type == kTfLiteFloat32 ||
                              input->type == kTfLiteInt32);
  TF_LITE_ENSURE_TYPES_EQ(context, order->type, kTfLiteInt32);
  TF_LITE_ENSURE(context, tflite::IsConstantTensor(order));
  const int dims = input->dims->size;
  TF_LITE_ENSURE(context, dims >= 1 && dims <= kDims);
  TF_LITE_ENSURE_EQ(context, tflite::NumElements(order), dims);
  TF_LITE_ENSURE_EQ(context, output->dims->size, dims);
  for (int i = 0; i < dims; ++i) {
    const int32_t from = tflite::GetTensorData<int32_t>(order)[i];
    TF_LITE_ENSURE(context, from >= 0 && from < dims);
    TF_LITE_ENSURE_EQ(context, output->dims->data[i], input->dims->data[from]);
  }
  return kTfLiteOk;
}

template <typename T>
void Transpose(const TfLiteTensor* input, const int32_t* order, TfLiteTensor* output) {
  const int dims = input->dims->size;
  int32_t input_stride[kDims];
  for (int i = dims - 1, stride = 1; i >= 0; --i) {
    input_stride[i] = stride;
    stride *= input->dims->data[i];
  }
  int32_t extent[kDims] = {1, 1, 1, 1}, stride[kDims] = {0, 0, 0, 0};  // of the output's dimensions, in the input
  for (int i = 0; i < dims; ++i) {
    extent[kDims - dims + i] = output->dims->data[i];
    stride[kDims - dims + i] = input_stride[order[i]];
  }
  const T* from = reinterpret_cast<const T*>(input->data.raw);
  T* to = reinterpret_cast<T*>(output->data.raw);
  for (int a = 0; a < extent[0]; ++a) {
    for (int b = 0; b < extent[1]; ++b) {
      for (int c = 0; c < extent[2]; ++c) {
        const T* first = from + a * stride[0] + b * stride[1] + c * stride[2];
        for (int d = 0; d < extent[3]; ++d) *to++ = first[d * stride[3]];
      }
    }
  }
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  const int32_t* order = tflite::GetTensorData<int32_t>(tflite::GetInput(context, node, 1));
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  if (input->type == kTfLiteInt8 || input->type == kTfLiteUInt8) {
    Transpose<uint8_t>(input, order, output);
  } else {
    Transpose<uint32_t>(input, order, output);
  }
  return kTfLiteOk;
}

}  // namespace

TfLiteRegistration* Register_TRANSPOSE() {
  static TfLiteRegistration registration = MakeRegistration(nullptr, Prepare, Invoke);
  return &registration;
}

}  // namespace reference
}  // namespace tinysim

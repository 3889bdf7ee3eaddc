// MEAN and REDUCE_MAX of float and int8 over any axes of at most four dimensions. This version of the runtime has MEAN of
// float over height and width alone.
#include <algorithm>
#include <limits>

#include "kernels/common/kernel.h"
#include "tensorflow/lite/kernels/internal/common.h"

namespace tinysim {
namespace reference {
namespace {

constexpr int kDims = 4;

struct Data {
  int32_t kept[kDims];     // extent of each dimension in the output
  int32_t reduced[kDims];  // extent of each dimension that is reduced
  int32_t stride[kDims];   // of the input, in elements
  int32_t count;           // input elements for each output element
  int32_t multiplier;      // from a sum of int8 to an output
  int shift;
};

void* Init(TfLiteContext* context, const char*, size_t) { return AllocatePersistent<Data>(context); }

TfLiteStatus PrepareAxes(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE(context, node->user_data != nullptr);
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  const TfLiteTensor* axis = tflite::GetInput(context, node, 1);
  const TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  TF_LITE_ENSURE(context, input->type == kTfLiteFloat32 || input->type == kTfLiteInt8);
  TF_LITE_ENSURE_TYPES_EQ(context, input->type, output->type);
  TF_LITE_ENSURE_TYPES_EQ(context, axis->type, kTfLiteInt32);
  TF_LITE_ENSURE(context, tflite::IsConstantTensor(axis));
  const int dims = input->dims->size;
  TF_LITE_ENSURE(context, dims >= 1 && dims <= kDims);

  Data* data = static_cast<Data*>(node->user_data);
  int32_t stride = 1;
  for (int i = kDims - 1; i >= 0; --i) {
    const int from = i - (kDims - dims);  // dimensions of one in front
    data->kept[i] = from >= 0 ? input->dims->data[from] : 1;
    data->reduced[i] = 1;
    data->stride[i] = stride;
    stride *= data->kept[i];
  }
  data->count = 1;
  for (int i = 0; i < tflite::NumElements(axis); ++i) {
    const int32_t named = tflite::GetTensorData<int32_t>(axis)[i];
    const int32_t at = (named < 0 ? named + dims : named) + kDims - dims;
    TF_LITE_ENSURE(context, at >= 0 && at < kDims);
    data->count *= data->kept[at];
    data->reduced[at] *= data->kept[at];
    data->kept[at] = 1;
  }
  TF_LITE_ENSURE_EQ(context, tflite::NumElements(output) * data->count, tflite::NumElements(input));
  return kTfLiteOk;
}

// The multiplier takes in the division by the number of elements, as reference_ops::QuantizedMeanOrSum of today's
// TensorFlow Lite does.
TfLiteStatus PrepareMean(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE_STATUS(PrepareAxes(context, node));
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  if (!IsInt8(input)) return kTfLiteOk;
  Data* data = static_cast<Data*>(node->user_data);
  tflite::QuantizeMultiplier(static_cast<double>(input->params.scale) /
                                 static_cast<double>(tflite::GetOutput(context, node, 0)->params.scale),
                             &data->multiplier, &data->shift);
  const int shift = std::min(31 - __builtin_clz(data->count), 31 + data->shift);
  data->multiplier = static_cast<int32_t>((static_cast<int64_t>(data->multiplier) << shift) / data->count);
  data->shift -= shift;
  return kTfLiteOk;
}

TfLiteStatus PrepareMax(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE_STATUS(PrepareAxes(context, node));
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  const TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  if (IsInt8(input)) {
    TF_LITE_ENSURE_EQ(context, input->params.zero_point, output->params.zero_point);
    TF_LITE_ENSURE(context, input->params.scale == output->params.scale);
  }
  return kTfLiteOk;
}

// Calls `inner(element)` for each element of one output, which starts at `first`.
template <typename T, typename Inner>
void ForEachReduced(const Data& data, const T* first, Inner inner) {
  for (int a = 0; a < data.reduced[0]; ++a) {
    for (int b = 0; b < data.reduced[1]; ++b) {
      for (int c = 0; c < data.reduced[2]; ++c) {
        const T* element = first + a * data.stride[0] + b * data.stride[1] + c * data.stride[2];
        for (int d = 0; d < data.reduced[3]; ++d) inner(element[d * data.stride[3]]);
      }
    }
  }
}

// Writes `reduce(first)` for each output; `first` is the first of its input elements.
template <typename T, typename Reduce>
void ForEachOutput(const Data& data, const TfLiteTensor* input, TfLiteTensor* output, Reduce reduce) {
  const T* from = tflite::GetTensorData<T>(input);
  T* to = tflite::GetTensorData<T>(output);
  for (int a = 0; a < data.kept[0]; ++a) {
    for (int b = 0; b < data.kept[1]; ++b) {
      for (int c = 0; c < data.kept[2]; ++c) {
        const T* first = from + a * data.stride[0] + b * data.stride[1] + c * data.stride[2];
        for (int d = 0; d < data.kept[3]; ++d) *to++ = reduce(first + d * data.stride[3]);
      }
    }
  }
}

template <typename T>
void Max(const Data& data, const TfLiteTensor* input, TfLiteTensor* output) {
  ForEachOutput<T>(data, input, output, [&](const T* first) {
    T largest = std::numeric_limits<T>::lowest();
    ForEachReduced(data, first, [&](T value) { largest = std::max(largest, value); });
    return largest;
  });
}

TfLiteStatus InvokeMax(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const Data& data = *static_cast<const Data*>(node->user_data);
  if (IsInt8(input)) {
    Max<int8_t>(data, input, output);
  } else {
    Max<float>(data, input, output);
  }
  return kTfLiteOk;
}

TfLiteStatus InvokeMean(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const Data& data = *static_cast<const Data*>(node->user_data);
  if (!IsInt8(input)) {
    ForEachOutput<float>(data, input, output, [&](const float* first) {
      float sum = 0.0f;
      ForEachReduced(data, first, [&](float value) { sum += value; });
      return sum / data.count;
    });
    return kTfLiteOk;
  }
  const int32_t offset = input->params.zero_point * data.count;
  const int32_t output_offset = output->params.zero_point;
  ForEachOutput<int8_t>(data, input, output, [&](const int8_t* first) {
    int32_t sum = 0;
    ForEachReduced(data, first, [&](int8_t value) { sum += value; });
    const int32_t mean = tflite::MultiplyByQuantizedMultiplier(sum - offset, data.multiplier, data.shift) + output_offset;
    return static_cast<int8_t>(std::min<int32_t>(std::max<int32_t>(mean, -128), 127));
  });
  return kTfLiteOk;
}

}  // namespace

TfLiteRegistration* Register_MEAN() {
  static TfLiteRegistration registration = MakeRegistration(Init, PrepareMean, InvokeMean);
  return &registration;
}

TfLiteRegistration* Register_REDUCE_MAX() {
  static TfLiteRegistration registration = MakeRegistration(Init, PrepareMax, InvokeMax);
  return &registration;
}

}  // namespace reference
}  // namespace tinysim

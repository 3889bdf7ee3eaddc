// QUANTIZE from int8 to int8, which changes scale and zero point; all else by the runtime's own kernel.
#include "tensorflow/lite/kernels/internal/reference/requantize.h"

#include "kernels/common/kernel.h"

namespace tinysim {
namespace reference {
namespace {

struct Data {
  int32_t multiplier;
  int shift;
};

Fallback Runtime() { return Fallback(tflite::ops::micro::Register_QUANTIZE()); }

bool IsOurs(TfLiteContext* context, TfLiteNode* node) {
  return IsInt8(tflite::GetInput(context, node, 0)) && IsInt8(tflite::GetOutput(context, node, 0));
}

// QUANTIZE has no parameters to find its tensors by in Init, so both kinds of data are allocated.
struct BothData {
  Data ours;
  void* runtime;
};

void* Init(TfLiteContext* context, const char* buffer, size_t length) {
  BothData* both = AllocatePersistent<BothData>(context);
  if (both != nullptr) both->runtime = Runtime().Init(context, buffer, length);
  return both;
}

// Calls a function of the runtime's kernel with its own data in place of ours.
template <typename Function>
TfLiteStatus ByRuntime(TfLiteNode* node, Function function) {
  void* both = node->user_data;
  node->user_data = static_cast<BothData*>(both)->runtime;
  const TfLiteStatus status = function();
  node->user_data = both;
  return status;
}

TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  TF_LITE_ENSURE(context, node->user_data != nullptr);
  if (!IsOurs(context, node)) return ByRuntime(node, [&] { return Runtime().Prepare(context, node); });
  Data* data = &static_cast<BothData*>(node->user_data)->ours;
  tflite::QuantizeMultiplier(static_cast<double>(tflite::GetInput(context, node, 0)->params.scale) /
                                 static_cast<double>(tflite::GetOutput(context, node, 0)->params.scale),
                             &data->multiplier, &data->shift);
  return kTfLiteOk;
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  if (!IsOurs(context, node)) return ByRuntime(node, [&] { return Runtime().Invoke(context, node); });
  const TfLiteTensor* input = tflite::GetInput(context, node, 0);
  TfLiteTensor* output = tflite::GetOutput(context, node, 0);
  const Data* data = &static_cast<const BothData*>(node->user_data)->ours;
  tflite::reference_ops::Requantize(tflite::GetTensorData<int8_t>(input),
                                    static_cast<int32_t>(tflite::NumElements(input)), data->multiplier, data->shift,
                                    input->params.zero_point, output->params.zero_point,
                                    tflite::GetTensorData<int8_t>(output));
  return kTfLiteOk;
}

}  // namespace

TfLiteRegistration* Register_QUANTIZE() {
  static TfLiteRegistration registration = MakeRegistration(Init, Prepare, Invoke);
  return &registration;
}

}  // namespace reference
}  // namespace tinysim

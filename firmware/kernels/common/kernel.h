// What our kernels share: tensors of a node, and the runtime's own kernel as the way out for types we do not handle.
#ifndef KERNELS_COMMON_KERNEL_H_
#define KERNELS_COMMON_KERNEL_H_

#include "kernels/common/builtin_data.h"
#include "tensorflow/lite/c/builtin_op_data.h"
#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/kernels/internal/quantization_util.h"
#include "tensorflow/lite/kernels/internal/tensor_ctypes.h"
#include "tensorflow/lite/kernels/kernel_util.h"
#include "tensorflow/lite/kernels/op_macros.h"
#include "tensorflow/lite/kernels/padding.h"
#include "tensorflow/lite/micro/kernels/micro_ops.h"

namespace tinysim {

typedef void* InitFunction(TfLiteContext*, const char*, size_t);
typedef TfLiteStatus NodeFunction(TfLiteContext*, TfLiteNode*);

inline TfLiteRegistration MakeRegistration(InitFunction* init, NodeFunction* prepare, NodeFunction* invoke) {
  return {init, nullptr, prepare, invoke, nullptr, 0, nullptr, 0};
}

// The runtime's kernel for the same operator.
class Fallback {
 public:
  explicit Fallback(TfLiteRegistration* registration) : kernel_(registration) {}

  void* Init(TfLiteContext* context, const char* buffer, size_t length) const {
    return kernel_->init == nullptr ? nullptr : kernel_->init(context, buffer, length);
  }
  TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) const {
    return kernel_->prepare == nullptr ? kTfLiteOk : kernel_->prepare(context, node);
  }
  TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) const { return kernel_->invoke(context, node); }

 private:
  TfLiteRegistration* kernel_;
};

// The input tensor number `index` of the operator whose parameters an Init function was given.
template <typename Params>
const TfLiteTensor* InputAtInit(TfLiteContext* context, const char* builtin_data, int index) {
  return &context->tensors[OperatorOf<Params>(builtin_data)->inputs()->Get(index)];
}

// A persistent T, all zeros, with `extra` bytes behind it.
template <typename T>
T* AllocatePersistent(TfLiteContext* context, size_t extra = 0) {
  void* block = nullptr;
  if (context->AllocatePersistentBuffer(context, sizeof(T) + extra, &block) != kTfLiteOk) return nullptr;
  return new (block) T();
}

inline bool IsInt8(const TfLiteTensor* tensor) { return tensor->type == kTfLiteInt8; }

inline const TfLiteAffineQuantization* Affine(const TfLiteTensor* tensor) {
  return tensor->quantization.type == kTfLiteAffineQuantization
             ? static_cast<const TfLiteAffineQuantization*>(tensor->quantization.params)
             : nullptr;
}

// Scratch memory that an operator has for the time of its Invoke.
struct Scratch {
  int index = -1;
  int32_t bytes = 0;

  TfLiteStatus Request(TfLiteContext* context, int32_t size) {
    bytes = size;
    return size > 0 ? context->RequestScratchBufferInArena(context, size, &index) : kTfLiteOk;
  }
  void* Get(TfLiteContext* context) const { return bytes > 0 ? context->GetScratchBuffer(context, index) : nullptr; }
};

}  // namespace tinysim

#endif  // KERNELS_COMMON_KERNEL_H_

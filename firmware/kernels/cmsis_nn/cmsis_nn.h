// Between TFLM's tensors and CMSIS-NN's arguments.
#ifndef KERNELS_CMSIS_NN_CMSIS_NN_H_
#define KERNELS_CMSIS_NN_CMSIS_NN_H_

#include "arm_nnfunctions.h"
#include "kernels/common/convolution.h"
#include "kernels/common/kernel.h"

namespace tinysim {

// The four dimensions of an NHWC tensor.
inline cmsis_nn_dims Dims(const TfLiteTensor* tensor) {
  const TfLiteIntArray* dims = tensor->dims;
  return {dims->data[0], dims->data[1], dims->data[2], dims->data[3]};
}

inline cmsis_nn_dims VectorDims(int32_t channels) { return {1, 1, 1, channels}; }

inline cmsis_nn_context Context(TfLiteContext* context, const Scratch& scratch) {
  return {scratch.Get(context), scratch.bytes};
}

inline TfLiteStatus Status(TfLiteContext* context, arm_cmsis_nn_status status) {
  TF_LITE_ENSURE_EQ(context, status, ARM_CMSIS_NN_SUCCESS);
  return kTfLiteOk;
}

}  // namespace tinysim

#endif  // KERNELS_CMSIS_NN_CMSIS_NN_H_

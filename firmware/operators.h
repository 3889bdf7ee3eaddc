// The table of a model's operators. Python writes it: one entry for each kind of operator the model has.
#ifndef OPERATORS_H_
#define OPERATORS_H_

#include "tensorflow/lite/c/common.h"

namespace tinysim {

struct OperatorEntry {
  int builtin_code;  // tflite::BuiltinOperator
  TfLiteRegistration* (*registration)();
};

extern const OperatorEntry kOperators[];
extern const int kOperatorCount;

}  // namespace tinysim

#endif  // OPERATORS_H_

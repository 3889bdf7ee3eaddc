// runtime.h for TensorFlow Lite Micro of June 2020. What this version's interface asks for is here and in tflm_2020.toml.
#include <new>

#include "kernels/common/builtin_data.h"
#include "operators.h"
#include "runtime.h"
#include "tensorflow/lite/micro/micro_error_reporter.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"
#include "tensorflow/lite/version.h"

extern "C" void DebugLog(const char* text) { tinysim_log(text); }

namespace tinysim {
namespace {

// Knows the model's operators and no other. Versions are checked by tinysim before it builds the firmware; the kernels
// refuse types and options they lack.
class Resolver : public tflite::MicroOpResolver {
 public:
  const TfLiteRegistration* FindOp(tflite::BuiltinOperator op, int) const override {
    for (int i = 0; i < kOperatorCount; ++i) {
      if (kOperators[i].builtin_code == op) {
        TfLiteRegistration* registration = kOperators[i].registration();
        registration->builtin_code = op;
        return registration;
      }
    }
    return nullptr;
  }

  const TfLiteRegistration* FindOp(const char*, int) const override { return nullptr; }  // no custom operators

  BuiltinParseFunction GetOpDataParser(tflite::BuiltinOperator) const override { return ParseWithOperator; }

  TfLiteStatus AddBuiltin(tflite::BuiltinOperator, TfLiteRegistration*, int) override { return kTfLiteError; }

  void operator delete(void*) {}
};

// Objects that live as long as the program, in static memory that costs no constructor at start-up.
template <typename T>
struct Static {
  alignas(T) unsigned char bytes[sizeof(T)];
  T* get() { return reinterpret_cast<T*>(bytes); }
};

Static<tflite::MicroErrorReporter> reporter;
Static<Resolver> resolver;
Static<tflite::MicroInterpreter> interpreter;

bool Describe(const TfLiteTensor* tensor, tinysim_record* record, uint32_t index) {
  if (tensor == nullptr || index >= TINYSIM_MAX_TENSORS) return false;
  record->tensors[index] = {reinterpret_cast<uint32_t>(tensor->data.raw), static_cast<uint32_t>(tensor->bytes),
                            static_cast<uint32_t>(tensor->type)};
  return true;
}

}  // namespace

int SetUp(const void* model_bytes, uint8_t* arena, size_t arena_bytes, tinysim_record* record) {
  new (reporter.bytes) tflite::MicroErrorReporter();
  new (resolver.bytes) Resolver();
  const tflite::Model* model = tflite::GetModel(model_bytes);
  if (model->version() != TFLITE_SCHEMA_VERSION) {
    tinysim_log("the model's schema version is not the runtime's");
    return kTfLiteError;
  }
  new (interpreter.bytes)
      tflite::MicroInterpreter(model, *resolver.get(), arena, arena_bytes, reporter.get());
  tflite::MicroInterpreter* network = interpreter.get();
  if (network->AllocateTensors() != kTfLiteOk) return kTfLiteError;
  record->arena_used_bytes = network->arena_used_bytes();
  record->input_count = network->inputs_size();
  record->output_count = network->outputs_size();
  uint32_t next = 0;
  for (uint32_t i = 0; i < record->input_count; ++i) {
    if (!Describe(network->input(i), record, next++)) return kTfLiteError;
  }
  for (uint32_t i = 0; i < record->output_count; ++i) {
    if (!Describe(network->output(i), record, next++)) return kTfLiteError;
  }
  return kTfLiteOk;
}

int Invoke() { return interpreter.get()->Invoke(); }

}  // namespace tinysim

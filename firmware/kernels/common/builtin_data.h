// Lets a kernel's Init see which operator it is for.
//
// In this version of the runtime persistent buffers must be allocated in Init and scratch buffers requested in Prepare:
// a persistent allocation between two scratch requests is an error. But Init is given the parsed parameters alone, not
// the node, and so cannot know how many channels to allocate for. The parser below appends the operator to them.
#ifndef KERNELS_COMMON_BUILTIN_DATA_H_
#define KERNELS_COMMON_BUILTIN_DATA_H_

#include <stddef.h>

#include "tensorflow/lite/core/api/flatbuffer_conversions.h"
#include "tensorflow/lite/micro/compatibility.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace tinysim {

constexpr size_t PaddedSize(size_t size) { return (size + alignof(void*) - 1) / alignof(void*) * alignof(void*); }

// Hands out blocks of one pointer more than asked for.
class AppendingAllocator : public tflite::BuiltinDataAllocator {
 public:
  AppendingAllocator(tflite::BuiltinDataAllocator* base, const tflite::Operator* op) : base_(base), op_(op) {}

  void* Allocate(size_t size, size_t) override {
    const size_t offset = PaddedSize(size);
    char* block = static_cast<char*>(base_->Allocate(offset + sizeof(op_), alignof(void*)));
    if (block != nullptr) *reinterpret_cast<const tflite::Operator**>(block + offset) = op_;
    return block;
  }
  void Deallocate(void* data) override { base_->Deallocate(data); }

 private:
  tflite::BuiltinDataAllocator* base_;
  const tflite::Operator* op_;

  TF_LITE_REMOVE_VIRTUAL_DELETE
};

// A MicroOpResolver::BuiltinParseFunction.
inline TfLiteStatus ParseWithOperator(const tflite::Operator* op, tflite::BuiltinOperator type,
                                      tflite::ErrorReporter* reporter, tflite::BuiltinDataAllocator* allocator,
                                      void** builtin_data) {
  if (type == tflite::BuiltinOperator_SQUEEZE) {  // the runtime's parser follows a vector that may be absent
    *builtin_data = nullptr;
    return kTfLiteOk;
  }
  AppendingAllocator appending(allocator, op);
  return tflite::ParseOpData(op, type, reporter, &appending, builtin_data);
}

// The operator whose parameters, of type Params, are at `builtin_data`.
template <typename Params>
const tflite::Operator* OperatorOf(const void* builtin_data) {
  return *reinterpret_cast<const tflite::Operator* const*>(static_cast<const char*>(builtin_data) +
                                                           PaddedSize(sizeof(Params)));
}

}  // namespace tinysim

#endif  // KERNELS_COMMON_BUILTIN_DATA_H_

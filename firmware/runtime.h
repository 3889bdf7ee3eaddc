// The seam between the firmware's main program and an inference runtime: all that main.cc knows of the runtime.
#ifndef RUNTIME_H_
#define RUNTIME_H_

#include "tinysim.h"

namespace tinysim {

// Builds the interpreter on the model and fills in `record`. Returns 0 or the runtime's status.
int SetUp(const void* model, uint8_t* arena, size_t arena_bytes, tinysim_record* record);

// One inference. Returns 0 or the runtime's status.
int Invoke();

}  // namespace tinysim

#endif  // RUNTIME_H_

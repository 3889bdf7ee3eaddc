// What the measured firmware offers to whoever runs it: symbols with C linkage, and one record in RAM.
#ifndef TINYSIM_H_
#define TINYSIM_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TINYSIM_MAGIC 0x544E5953u  // "SYNT" in memory: the record is filled in
#define TINYSIM_MAX_TENSORS 8

// One input or output of the model.
struct tinysim_tensor {
  uint32_t address;
  uint32_t bytes;
  uint32_t type;  // TfLiteType
};

// What is known after set-up. Inputs come first in `tensors`, then outputs.
struct tinysim_record {
  uint32_t magic;
  int32_t status;  // TfLiteStatus of set-up, then of the last inference
  uint32_t arena_used_bytes;
  uint32_t input_count;
  uint32_t output_count;
  struct tinysim_tensor tensors[TINYSIM_MAX_TENSORS];
};
extern struct tinysim_record tinysim_io;

// Marks: empty functions, each in its own right, that cost a call and a return and are never inlined.
void tinysim_ready(void);                // before every inference, after set-up: write the inputs here
void tinysim_done(void);                 // after every inference: read the outputs here
void tinysim_failed(void);               // set-up or an inference failed; the firmware then waits for ever
void tinysim_log(const char* text);      // a message of the runtime

// The measured region: one inference and nothing else.
void tinysim_invoke(void);

// Called first of all, before memory is set up; weak and empty. A board that needs clocks or caches defines its own.
void tinysim_board_init(void);

extern const uint8_t tinysim_model[];    // the .tflite file, in flash
extern uint8_t tinysim_arena[];          // the tensor arena
extern uint8_t __arena_size[];           // its size in bytes is the address of this symbol

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // TINYSIM_H_

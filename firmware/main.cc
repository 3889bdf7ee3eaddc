// The measured program: set up once, then one inference after the other for ever.
#include "runtime.h"

extern "C" __attribute__((noinline, used)) void tinysim_invoke(void) { tinysim_io.status = tinysim::Invoke(); }

namespace {

[[noreturn]] void Fail() {
  tinysim_failed();
  for (;;) {
  }
}

}  // namespace

int main() {
  tinysim_io.status = tinysim::SetUp(tinysim_model, tinysim_arena, reinterpret_cast<size_t>(__arena_size), &tinysim_io);
  if (tinysim_io.status != 0) Fail();
  tinysim_io.magic = TINYSIM_MAGIC;
  for (;;) {
    tinysim_ready();
    tinysim_invoke();
    if (tinysim_io.status != 0) Fail();
    tinysim_done();
  }
}

#include "gs_tflm.h"

#include <cstring>
#include <new>

#include "gs_tflm_plan.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"
#ifndef GS_TFLM_OWN_CALLS
#include "gatesearch.h"
#endif

namespace {

constexpr uint32_t kSchemaVersion = 3;  // of .tflite files

GsResolver resolver;
bool has_operators;  // whether the operators are in the resolver; they stay there
// Interpreters lie in static memory, because their constructor needs the models.
alignas(tflite::MicroInterpreter) uint8_t storage[GS_TFLM_PROGRAMS][sizeof(tflite::MicroInterpreter)];
tflite::MicroInterpreter *interpreters[GS_TFLM_PROGRAMS];
bool ready;
uint32_t open_stages[GS_TFLM_CORES];  // bit s: entry s of gs_tflm_stages is open
const char *fault = "";

int fail(const char *text) {
  fault = text;
  ready = false;
  return -1;
}

bool fits(const TfLiteTensor *tensor, const gs_tflm_tensor &expected) {
  return tensor && tensor->type == kTfLiteInt8 && tensor->bytes == expected.bytes;
}

// Load a program; return false where TFLM refuses the model, or where its tensors are not those of the plan.
bool load(int32_t index) {
  const gs_tflm_program &p = gs_tflm_programs[index];
  const tflite::Model *model = tflite::GetModel(p.model);
  if (model->version() != kSchemaVersion) return false;
  if (interpreters[index]) interpreters[index]->~MicroInterpreter();
  interpreters[index] = new (storage[index]) tflite::MicroInterpreter(model, resolver, p.arena, p.arena_bytes);
  tflite::MicroInterpreter &interpreter = *interpreters[index];
  if (interpreter.AllocateTensors() != kTfLiteOk) return false;
  if (interpreter.inputs_size() != static_cast<size_t>(p.n_in)) return false;
  if (interpreter.outputs_size() != static_cast<size_t>(p.n_out)) return false;
  for (int32_t i = 0; i < p.n_in; i++) {
    if (!fits(interpreter.input(static_cast<size_t>(p.in[i].position)), p.in[i])) return false;
  }
  for (int32_t i = 0; i < p.n_out; i++) {
    if (!fits(interpreter.output(static_cast<size_t>(p.out[i].position)), p.out[i])) return false;
  }
  return true;
}

int32_t find_stage(int stage) {
  for (int32_t s = 0; s < GS_TFLM_STAGES; s++) {
    if (gs_tflm_stages[s].number == stage) return s;
  }
  return -1;
}

// Copy the frames and the state to the program's inputs, run it, and copy its outputs and the next state back.
bool invoke(int32_t index, const int8_t *input, int8_t *outputs, int8_t *state) {
  const gs_tflm_program &p = gs_tflm_programs[index];
  tflite::MicroInterpreter &interpreter = *interpreters[index];
  const int8_t *from = input;
  for (int32_t i = 0; i < p.n_in; i++) {
    std::memcpy(interpreter.input(static_cast<size_t>(p.in[i].position))->data.int8, from, p.in[i].bytes);
    from = i == 0 ? state : from + p.in[i].bytes;
  }
  if (interpreter.Invoke() != kTfLiteOk) return false;
  int8_t *to = outputs;
  for (int32_t i = 0; i < p.n_out; i++) {
    if (i == p.own) to = state;
    std::memcpy(to, interpreter.output(static_cast<size_t>(p.out[i].position))->data.int8, p.out[i].bytes);
    to += p.out[i].bytes;
  }
  return true;
}

}  // namespace

extern "C" {

const char *gs_tflm_fault(void) { return fault; }

int gs_tflm_init(void) {
  fault = "";
  if (!has_operators && gs_tflm_add_operators(&resolver) != kTfLiteOk) return fail("the resolver takes no operator");
  has_operators = true;
  for (int32_t index = 0; index < GS_TFLM_PROGRAMS; index++) {
    if (!load(index)) return fail(gs_tflm_programs[index].name);
  }
  ready = true;
  return 0;
}

int gs_tflm_run(int stage, int phase, int begins, const int8_t *input, int8_t *outputs) {
  const int32_t found = find_stage(stage);
  if (found < 0) return 0;
  const gs_tflm_stage &s = gs_tflm_stages[found];
  if (!ready) return -1;
  if (phase < 0 || phase >= s.phases || !input || !outputs) return fail("gs_tflm_run: a wrong argument");
  if (!begins && s.step < 0) return fail("gs_tflm_run: the stage has no program for hops");
  int8_t *state = s.state ? s.state + static_cast<size_t>(phase) * s.state_bytes : nullptr;
  const int32_t index = begins ? s.catch_up : s.step;
  return invoke(index, input, outputs, state) ? 1 : fail(gs_tflm_programs[index].name);
}

__attribute__((weak)) void gs_tflm_power(int core, int on) {
  (void)core;
  (void)on;
}

void gs_tflm_on_stage(int stage, int opens) {
  const int32_t found = find_stage(stage);
  if (found < 0) return;
  const int32_t core = gs_tflm_stages[found].core;
  const uint32_t before = open_stages[core], bit = static_cast<uint32_t>(1) << found;
  open_stages[core] = opens ? before | bit : before & ~bit;
  if (!before != !open_stages[core]) gs_tflm_power(core, opens);
}

#ifndef GS_TFLM_OWN_CALLS
void gatesearch_on_stage(int stage, int opens) { gs_tflm_on_stage(stage, opens); }

int gatesearch_run_stage(int stage, int phase, int begins, const int8_t *input, int8_t *outputs) {
  return gs_tflm_run(stage, phase, begins, input, outputs) > 0;
}
#endif

}  // extern "C"

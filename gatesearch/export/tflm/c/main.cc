/* Loads the models, then plays the golden vectors through firmware and TFLM; prints PASS or the first difference. */
#include <cstdio>

#include "gs_tflm.h"

extern "C" int play(void); /* main of the firmware's test/check.c, under another name */

int main() {
  if (gs_tflm_init()) {
    std::printf("FAIL %s does not load\n", gs_tflm_fault());
    return 1;
  }
  const int status = play();
  if (*gs_tflm_fault()) std::printf("FAIL %s\n", gs_tflm_fault());
  return *gs_tflm_fault() ? 1 : status;
}

/* Listens to raw 16-bit samples on standard input, at GS_RATE samples per second, and prints detections.

     arecord -q -t raw -f S16_LE -c 1 -r 16000 | ./listen        a microphone, through ALSA
     ./listen < sound.raw                                        a file; a WAV file's header is read as 22 samples */
#include <stdio.h>
#include "gatesearch.h"
#include "gs_plan.h"

int main(void) {
  int16_t samples[GS_HOP];
  gs_detection detection;
  if (gatesearch_init()) return 1;
  while (fread(samples, sizeof(samples[0]), GS_HOP, stdin) == GS_HOP) {
    if (!gatesearch_process(samples, &detection)) continue;
    const double seconds = GS_FIRST_SECONDS + detection.hop * GS_HOP_SECONDS;
    printf("%d:%02d:%05.2f  %s  %.2f\n", (int)(seconds / 3600), (int)(seconds / 60) % 60,
           seconds - 60 * (int)(seconds / 60), gatesearch_label(detection.label), (double)detection.confidence);
    fflush(stdout);
  }
  return 0;
}

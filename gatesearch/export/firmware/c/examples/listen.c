/* Listens to a sound at GS_RATE samples per second, and prints detections: time, class, confidence.

     ./listen sound.wav          a WAV file with 16-bit samples and one channel
     ./listen mic [DEVICE]       a microphone, through ALSA: build it with make listen ALSA=1
     ./listen < sound.raw        raw 16-bit samples, such as: arecord -q -t raw -f S16_LE -c 1 -r 16000 | ./listen */
#include <stdio.h>
#include "gatesearch.h"
#include "gs_plan.h"
#include "wav.h"
#ifdef GS_ALSA
#include <alsa/asoundlib.h>
#endif

/* Run a hop, and print the detection if there is one. */
static void hear(const int16_t *samples) {
  gs_detection detection;
  if (gatesearch_process(samples, &detection) <= 0) return;
  const double seconds = GS_FIRST_SECONDS + (double)detection.hop * GS_HOP_SECONDS;
  printf("%d:%02d:%05.2f  %s  %.2f\n", (int)(seconds / 3600), (int)(seconds / 60) % 60,
         seconds - 60.0 * (double)(int)(seconds / 60), gatesearch_label(detection.label), (double)detection.confidence);
  fflush(stdout);
}

/* Listen to a file until it ends, or to its first bytes; samples that fill no hop are dropped. */
static int listen_file(FILE *file, uint32_t bytes) {
  int16_t samples[GS_HOP];
  while (bytes >= sizeof(samples) && fread(samples, sizeof(samples[0]), GS_HOP, file) == GS_HOP) {
    convert_samples(samples, GS_HOP);
    hear(samples);
    if (bytes != UINT32_MAX) bytes -= (uint32_t)sizeof(samples);
  }
  return 0;
}

/* Listen to a microphone without end; return 1 if it fails. */
static int listen_microphone(const char *name) {
#ifdef GS_ALSA
  int16_t samples[GS_HOP];
  snd_pcm_t *device;
  int error = snd_pcm_open(&device, name, SND_PCM_STREAM_CAPTURE, 0);
  if (error >= 0) {
    error = snd_pcm_set_params(device, SND_PCM_FORMAT_S16, SND_PCM_ACCESS_RW_INTERLEAVED, 1, GS_RATE, 1, 500000);
  }
  while (error >= 0) {
    snd_pcm_uframes_t count = 0;
    while (count < GS_HOP && error >= 0) {
      snd_pcm_sframes_t n = snd_pcm_readi(device, samples + count, GS_HOP - count);
      if (n > 0) count += (snd_pcm_uframes_t)n;
      else if ((error = snd_pcm_recover(device, (int)n, 0)) >= 0) gatesearch_reset(); /* sound was lost */
    }
    if (count == GS_HOP) hear(samples);
  }
  fprintf(stderr, "listen: microphone %s: %s\n", name, snd_strerror(error));
#else
  fprintf(stderr, "listen: microphone %s: built without ALSA; wanted: make listen ALSA=1\n", name);
#endif
  return 1;
}

int main(int count, char **words) {
  uint32_t bytes = UINT32_MAX; /* without end */
  FILE *file = stdin;
  if (gatesearch_init()) {
    fprintf(stderr, "listen: the kernels need more memory than the plan reserves\n");
    return 1;
  }
  if (count > 1 && !strcmp(words[1], "mic")) return listen_microphone(count > 2 ? words[2] : "default");
  if (count > 1 && strcmp(words[1], "-")) {
    file = fopen(words[1], "rb");
    const char *problem = file ? open_wav(file, GS_RATE, &bytes) : "cannot be opened";
    if (problem) {
      fprintf(stderr, "listen: %s %s; wanted: one channel of 16-bit samples at %d Hz\n", words[1], problem, GS_RATE);
      return 1;
    }
  }
  return listen_file(file, bytes);
}

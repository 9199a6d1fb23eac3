/* Reads the header of a WAV file. */
#ifndef GS_WAV_H
#define GS_WAV_H
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint32_t read_number(const unsigned char *bytes, int count) {
  uint32_t value = 0;
  for (int i = count - 1; i >= 0; i--) value = value << 8 | bytes[i];
  return value;
}

/* Find the samples of a WAV file: the file is then at the first of them.

   Returns NULL, and the number of bytes of the samples in *bytes; or what is wrong with the file. */
static const char *open_wav(FILE *file, uint32_t rate, uint32_t *bytes) {
  unsigned char head[16];
  int has_format = 0;
  if (fread(head, 1, 12, file) != 12 || memcmp(head, "RIFF", 4) || memcmp(head + 8, "WAVE", 4)) return "is no WAV file";
  while (fread(head, 1, 8, file) == 8) {
    uint32_t size = read_number(head + 4, 4), skip = size + (size & 1); /* chunks have an even length */
    if (!memcmp(head, "data", 4)) {
      *bytes = size;
      return has_format ? NULL : "has no format before its samples";
    }
    if (!memcmp(head, "fmt ", 4) && size >= 16) {
      if (fread(head, 1, 16, file) != 16) break;
      const uint32_t kind = read_number(head, 2);
      if ((kind != 1 && kind != 0xFFFE) || read_number(head + 14, 2) != 16) return "has no 16-bit samples";
      if (read_number(head + 2, 2) != 1) return "has more than one channel";
      if (read_number(head + 4, 4) != rate) return "has another sample rate than the plan";
      has_format = 1;
      skip -= 16;
    }
    for (; skip; skip--) {
      if (fgetc(file) == EOF) return "ends before its samples";
    }
  }
  return "has no samples";
}

/* Convert n samples, lowest byte first, to this machine's order of bytes; in place. */
static void convert_samples(int16_t *samples, size_t n) {
  for (size_t i = 0; i < n; i++) {
    unsigned char bytes[2];
    memcpy(bytes, samples + i, 2);
    samples[i] = (int16_t)(bytes[0] | bytes[1] << 8);
  }
}
#endif

/* A program for a board that answers over a serial line: stream.py sends sound, and compares the answers.

   The protocol is in bytes; numbers have their lowest byte first.
     'I'                  answer: GS_RATE (4 bytes), GS_HOP (4), GS_CLASSES (4), GS_PLAN_DIGEST (12, with zeros behind it)
     'R'                  forget the stream; answer: 'R'
     'H' and GS_HOP samples of 2 bytes
                          run a hop; answer: last stage (1 byte), stages that caught up (4), class (4, -1 for none),
                          confidence (4, float)
   Other bytes are ignored, so that a line that starts in the middle of a message finds its way.

   For a board, replace read_byte and write_byte by those of its serial driver. On a host they use standard input and
   output: stream.py --pty ./board. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "gatesearch.h"
#include "gs_plan.h"

/* Return the next byte; on a host -1 at the end. */
static int read_byte(void) { return fgetc(stdin); }

static void write_byte(int byte) { putc(byte, stdout); }

static void end_message(void) { fflush(stdout); }

static void write_number(uint32_t value) {
  for (int i = 0; i < 4; i++) write_byte((int)(value >> 8 * i & 0xFF));
}

static void write_info(void) {
  static const char digest[] = GS_PLAN_DIGEST;
  write_number(GS_RATE);
  write_number(GS_HOP);
  write_number(GS_CLASSES);
  for (size_t i = 0; i < 12; i++) write_byte(i < sizeof(digest) ? digest[i] : 0);
}

/* Read a hop, run it and write its answer; return 0 where the input ends. */
static int answer_hop(void) {
  static int16_t samples[GS_HOP];
  gs_detection detection;
  for (int i = 0; i < GS_HOP; i++) {
    const int low = read_byte(), high = read_byte();
    if (high < 0) return 0;
    samples[i] = (int16_t)(low | high << 8);
  }
  (void)gatesearch_process(samples, &detection);
  const gs_activity activity = gatesearch_activity();
  uint32_t confidence;
  memcpy(&confidence, &detection.confidence, 4);
  write_byte(activity.last_stage & 0xFF);
  write_number(activity.caught_up);
  write_number((uint32_t)detection.label);
  write_number(confidence);
  return 1;
}

int main(void) {
  if (gatesearch_init()) return 1;
  for (int byte = read_byte(), more = 1; byte >= 0 && more; byte = read_byte()) {
    if (byte == 'I') write_info();
    else if (byte == 'R') gatesearch_reset(), write_byte('R');
    else if (byte == 'H') more = answer_hop();
    end_message();
  }
  return 0;
}

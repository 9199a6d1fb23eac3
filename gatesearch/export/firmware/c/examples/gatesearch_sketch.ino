// An Arduino sketch for boards with a PDM microphone (Nano 33 BLE Sense and others): the LED blinks at each detection.
// It was compiled against stubs of Arduino's headers. It has not run on a board yet.
#include <PDM.h>
#include "gatesearch.h"
#include "gs_plan.h"

static int16_t ring[2][GS_HOP];
static volatile int filled = 0, writing = 0, ready = -1;

static void take() {
  while (PDM.available() > 0) {
    int want = (GS_HOP - filled) * (int)sizeof(int16_t);
    filled += PDM.read(ring[writing] + filled, want) / (int)sizeof(int16_t);
    if (filled < GS_HOP) return;
    ready = writing;
    writing = 1 - writing;
    filled = 0;
  }
}

void setup() {
  Serial.begin(115200);
  pinMode(LED_BUILTIN, OUTPUT);
  PDM.onReceive(take);
  if (gatesearch_init() || !PDM.begin(1, GS_RATE)) {
    Serial.println("no microphone, or not enough memory");
    for (;;) {
    }
  }
}

void loop() {
  gs_detection detection;
  if (ready < 0) return;
  const int now = ready;
  ready = -1;
  if (gatesearch_process(ring[now], &detection) > 0) {
    digitalWrite(LED_BUILTIN, !digitalRead(LED_BUILTIN));
    Serial.println(gatesearch_label(detection.label));
  }
}

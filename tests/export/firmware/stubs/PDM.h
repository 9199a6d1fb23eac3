// As much of Arduino's PDM library as the sketch uses.
#include <stddef.h>
struct PDMClass {
  int begin(int channels, long rate);
  int available();
  int read(void *buffer, size_t size);
  void onReceive(void (*callback)());
};
extern PDMClass PDM;

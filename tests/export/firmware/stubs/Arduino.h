// As much of Arduino as the sketch uses, for a compiler that only checks types.
#include <stdint.h>
#define OUTPUT 1
#define LED_BUILTIN 13
void pinMode(int pin, int mode);
void digitalWrite(int pin, int value);
int digitalRead(int pin);
struct SerialPort {
  void begin(long rate);
  void println(const char *text);
};
extern SerialPort Serial;

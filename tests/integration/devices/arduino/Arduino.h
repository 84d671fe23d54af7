// As much of the Arduino core as the sketch and its MQTT library use, on a computer.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <string>

#define HIGH 1
#define LOW 0
#define INPUT_PULLUP 2
#define OUTPUT 1

typedef bool boolean;

class String {
 public:
  String(const char* text = "") : text_(text) {}
  const char* c_str() const { return text_.c_str(); }

 private:
  std::string text_;
};

uint32_t millis();
uint32_t micros();
void delay(uint32_t ms);
void pinMode(int pin, int mode);
void digitalWrite(int pin, int level);
int digitalRead(int pin);
long random(long below);
void randomSeed(unsigned long seed);

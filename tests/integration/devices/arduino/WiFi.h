#pragma once
#include <Client.h>

#define WIFI_STA 1
#define WL_CONNECTED 3

struct WiFiClass {
  void mode(int) {}
  void begin(const char*, const char*) {}
  void setSleep(bool) {}
  int status() { return WL_CONNECTED; }
};
extern WiFiClass WiFi;

// A TCP connection of this computer.
class WiFiClient : public Client {
 public:
  int connect(const char* host, uint16_t port) override;
  size_t write(const uint8_t* data, size_t length) override;
  int available() override;
  int read(uint8_t* data, size_t length) override;
  void stop() override;
  uint8_t connected() override;
  void setNoDelay(bool on);

 private:
  int socket_ = -1;
};

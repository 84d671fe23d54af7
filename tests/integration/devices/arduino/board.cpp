// A board for the sketch: LED changes go to stdout with the time (CLOCK_BOOTTIME, µs), lines on stdin press the button.
#include <WiFi.h>
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

WiFiClass WiFi;
static int button_level = HIGH;

static uint64_t now_us() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

// Started shortly before it wraps, as a board is after 71 minutes.
uint32_t micros() { return (uint32_t)(now_us() - START_US) + 0xFFFFFFFFu - 3000000u; }
uint32_t millis() { return (uint32_t)(now_us() / 1000u); }
void delay(uint32_t ms) { usleep(ms * 1000); }
void pinMode(int, int) {}
void digitalWrite(int, int level) {
  printf("led %d %llu\n", level, (unsigned long long)now_us());
  fflush(stdout);
}
int digitalRead(int) { return button_level; }
long random(long below) { return ::rand() % below; }
void randomSeed(unsigned long seed) { srand((unsigned)seed); }

int WiFiClient::connect(const char* host, uint16_t port) {
  stop();
  socket_ = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, host, &address.sin_addr);
  if (::connect(socket_, (sockaddr*)&address, sizeof address) == 0) return 1;
  stop();
  return 0;
}
size_t WiFiClient::write(const uint8_t* data, size_t length) {
  ssize_t sent = send(socket_, data, length, MSG_NOSIGNAL);
  return sent < 0 ? 0 : (size_t)sent;
}
int WiFiClient::available() {
  int waiting = 0;
  return socket_ >= 0 && ioctl(socket_, FIONREAD, &waiting) == 0 ? waiting : 0;
}
int WiFiClient::read(uint8_t* data, size_t length) { return (int)recv(socket_, data, length, MSG_DONTWAIT); }
void WiFiClient::stop() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
}
uint8_t WiFiClient::connected() {
  if (socket_ < 0) return 0;
  char byte;
  return recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0;
}
void WiFiClient::setNoDelay(bool on) {
  int value = on;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value);
}

void setup();
void loop();

int main() {
  setup();
  for (;;) {
    loop();
    pollfd in = {0, POLLIN, 0};
    if (poll(&in, 1, 0) == 1) {
      char line[8];
      ssize_t got = ::read(0, line, sizeof line);
      if (got <= 0) return 0;
      button_level = line[0] == 'd' ? LOW : HIGH;
    }
    usleep(200);
  }
}

// A drum for an ESP32 or ESP8266: the LED flashes on every beat of the room, a button plays.
// Library: "MQTT" by Joel Gaehwiler (arduino-mqtt) 2.5 or later, from the library manager. Fill in config.h.
#if defined(ESP8266)
#include <ESP8266WiFi.h>
#else
#include <WiFi.h>
#endif
#include <MQTT.h>

#include "bandroom.h"
#include "config.h"

// What the roster shows; without it, what was said when the device was enrolled.
#ifdef INSTRUMENT
#define PLAYS " " INSTRUMENT
#else
#define PLAYS ""
#endif

// 256 bytes hold every packet at the longest names; the library's own 128 do not hold a beat.
MQTTClient mqtt(256);
WiFiClient net;
bandroom::LocalClock local_clock;
bandroom::Clock server_clock;
bandroom::Beats beats;

char presence[64], assignment[64], base[80] = "", nonce[9];
char wanted_room[16] = "", room[16] = "";
bool room_changed = false;
uint32_t wait_ms = 0, retry_at = 0, connected_at = 0;
int pings_left = 0;
int64_t next_ping = 0, led_off_at = 0;
bool button_down = false;

int64_t now_local() { return local_clock.us(micros()); }
int64_t now_server() { return server_clock.server(now_local()); }

const char* topic_of(const char* leaf) {
  static char topic[112];
  snprintf(topic, sizeof topic, "%s%s", base, leaf);
  return topic;
}

const char* own(const char* leaf, const char* tail) {
  static char topic[128];
  snprintf(topic, sizeof topic, "%s%s/%s%s", base, leaf, SUBJECT, tail);
  return topic;
}

// Called from inside mqtt.loop(): only takes notes, since the library may not publish or subscribe in here.
void received(MQTTClient*, char topic[], char bytes[], int length) {
  int64_t arrived = now_local();
  size_t n = strlen(base);
  if (strcmp(topic, assignment) == 0) {
    snprintf(wanted_room, sizeof wanted_room, "%s", length > 1 ? bytes : "");
    room_changed = strcmp(wanted_room, room) != 0;
  } else if (n > 0 && strncmp(topic, base, n) == 0) {
    bandroom::Beat beat;
    if (strcmp(topic + n, "beat") == 0) {
      if (bandroom::read_beat(bytes, beat)) beats.message(beat);
    } else {
      server_clock.reply(nonce, bytes, length, arrived);
    }
  }
}

void enter_room() {
  room_changed = false;
  if (base[0]) {
    mqtt.unsubscribe(topic_of("beat"));
    mqtt.unsubscribe(own("clock", "/r"));
  }
  beats.forget();
  strcpy(room, wanted_room);
  base[0] = 0;
  if (!room[0]) return;
  snprintf(base, sizeof base, "tenant/%s/music_room/%s/", TENANT, room);
  mqtt.subscribe(topic_of("beat"));
  mqtt.subscribe(own("clock", "/r"));
  pings_left = 8;
}

void connect() {
  if ((int32_t)(millis() - retry_at) < 0) return;
  if (connected_at && millis() - connected_at > 2000) wait_ms = 0;
  connected_at = 0;
  // First after 50 to 200 ms, then twice as long each time, up to 5 s: a whole class comes back at once.
  wait_ms = wait_ms ? (wait_ms < 2500 ? wait_ms * 2 : 5000) : 50 + random(150);
  retry_at = millis() + wait_ms;
  char client_id[48], user[64];
  snprintf(client_id, sizeof client_id, "%s_%s", TENANT, SUBJECT);
  snprintf(user, sizeof user, "%s/%s/%d", TENANT, SUBJECT, GENERATION);
  mqtt.setWill(presence, "lost 0", true, 1);
  if (!mqtt.connect(client_id, user, PASSWORD)) return;
  net.setNoDelay(true);
  connected_at = millis() | 1;
  mqtt.subscribe(assignment);
  mqtt.publish(presence, "ready 0" PLAYS, true, 1);
  base[0] = 0;
  room_changed = wanted_room[0] != 0;
}

// Eight pings 30 ms apart, the first of which wakes a sleeping radio; then again after ten seconds.
void keep_time() {
  int64_t now = now_local();
  if (!base[0] || (pings_left == 0 && now < next_ping)) return;
  if (pings_left == 0) pings_left = 8;
  if (now < next_ping && pings_left < 8) return;
  char ping[29];
  server_clock.ping(nonce, now_local(), ping);
  mqtt.publish(own("clock", "/q"), ping);
  next_ping = now + (--pings_left ? 30000 : 10000000);
}

void play(const char* what) {
  char note[64];
  if (server_clock.synced())
    snprintf(note, sizeof note, "{\"t\":%lld,\"%s\":%d}", (long long)now_server(), what, NOTE);
  else
    snprintf(note, sizeof note, "{\"%s\":%d}", what, NOTE);
  if (base[0]) mqtt.publish(own("note", ""), note);
}

void setup() {
  pinMode(LED_PIN, OUTPUT);
  pinMode(BUTTON_PIN, INPUT_PULLUP);
  snprintf(presence, sizeof presence, "tenant/%s/presence/%s", TENANT, SUBJECT);
  snprintf(assignment, sizeof assignment, "tenant/%s/device/%s/room", TENANT, SUBJECT);
  WiFi.mode(WIFI_STA);
  WiFi.begin(WIFI_NAME, WIFI_PASSWORD);
#if defined(ESP8266)
  WiFi.setSleepMode(WIFI_NONE_SLEEP);
#else
  WiFi.setSleep(false);  // a sleeping radio answers 60 to 1,000 ms late
#endif
  while (WiFi.status() != WL_CONNECTED) delay(100);
  randomSeed(micros());
  snprintf(nonce, sizeof nonce, "%08lx", (unsigned long)random(0x7fffffff));
  mqtt.begin(BROKER, BROKER_PORT, net);
  mqtt.setOptions(20, true, 1000);
  mqtt.onMessageAdvanced(received);
}

void loop() {
  if (!mqtt.loop()) connect();
  if (mqtt.connected()) {
    if (room_changed) enter_room();
    keep_time();
  }
  bandroom::Beat beat;
  int64_t now = now_local();
  if (server_clock.synced() && beats.due(server_clock.server(now), beat)) {
    digitalWrite(LED_PIN, HIGH);
    led_off_at = now + (beat.pos == 1 ? 100000 : 40000);
  }
  if (led_off_at && now > led_off_at) {
    digitalWrite(LED_PIN, LOW);
    led_off_at = 0;
  }
  if (button_down != (digitalRead(BUTTON_PIN) == LOW)) {
    button_down = !button_down;
    play(button_down ? "on" : "off");
  }
}

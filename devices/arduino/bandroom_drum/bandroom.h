// Bandroom on an Arduino: server time from clock exchanges, and beats from `beat` messages. Plain C++11 without
// heap or library, so that it runs on any board and in tests on a computer. All times are µs in 64 bits.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace bandroom {

const int64_t LATE_US = 100000;  // a beat later than this, or than half its length, is left out
const int AHEAD_BEATS = 8;       // so many beats go on without a message; then the room has stopped or is out of reach

// Local time that does not wrap, from the 32 bits of micros(): ask at least once an hour.
class LocalClock {
 public:
  int64_t us(uint32_t micros_now) {
    total_ += (uint32_t)(micros_now - last_);
    last_ = micros_now;
    return total_;
  }

 private:
  uint32_t last_ = 0;
  int64_t total_ = 0;
};

// Server time: of the last exchanges the one that tells most, by round trip and age.
class Clock {
 public:
  // The 28 characters of a ping sent at `local`. `nonce` has 8 characters of this device's own.
  void ping(const char* nonce, int64_t local, char out[29]) {
    seq_++;
    sent_[seq_ % KEPT] = local;
    snprintf(out, 29, "%.8s %02x 0000000000000000", nonce, (unsigned)seq_);
  }

  // A reply that arrived at `local`; false if it is none of ours, doubled, or too old to tell anything.
  bool reply(const char* nonce, const char* payload, int length, int64_t local) {
    if (length != 28 || memcmp(payload, nonce, 8) != 0) return false;
    uint8_t seq = (uint8_t)strtoul(payload + 9, nullptr, 16);
    int64_t sent = sent_[seq % KEPT];
    if ((uint8_t)(seq_ - seq) >= KEPT || sent < 0) return false;
    sent_[seq % KEPT] = -1;
    Sample& sample = samples_[next_++ % KEPT];
    sample.local = (sent + local) / 2;
    sample.trip = local - sent;
    sample.offset = strtoll(payload + 12, nullptr, 10) - sample.local;
    if (kept_ < KEPT) kept_++;
    return true;
  }

  bool synced() const { return kept_ > 0; }
  int64_t server(int64_t local) const { return local + best(local).offset; }

  // Server time is known to within this many µs.
  int64_t error_us(int64_t local) const { return doubt(best(local), local); }

  void forget() {
    kept_ = 0;
    next_ = 0;
  }

 private:
  static const int KEPT = 16;
  struct Sample {
    int64_t local, trip, offset;
  };

  // A crystal is at most 100 ppm off another.
  static int64_t doubt(const Sample& s, int64_t local) { return s.trip / 2 + (local - s.local) / 10000; }

  const Sample& best(int64_t local) const {
    int found = 0;
    for (int i = 1; i < kept_; i++)
      if (doubt(samples_[i], local) < doubt(samples_[found], local)) found = i;
    return samples_[found];
  }

  Sample samples_[KEPT];
  int64_t sent_[KEPT] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
  uint8_t seq_ = 0;
  unsigned next_ = 0;
  int kept_ = 0;
};

struct Beat {
  int64_t rev, n, pos, t, d;
};

// The number behind "name" in a flat JSON object; false if there is none.
inline bool field(const char* json, const char* name, int64_t& value) {
  char wanted[16];
  snprintf(wanted, sizeof wanted, "\"%s\":", name);
  const char* at = strstr(json, wanted);
  if (at == nullptr) return false;
  at += strlen(wanted);
  char* end;
  value = strtoll(at, &end, 10);
  return end != at;
}

// Reads a `beat` message (with a NUL behind it); false if it is none.
inline bool read_beat(const char* json, Beat& beat) {
  return field(json, "rev", beat.rev) && field(json, "n", beat.n) && field(json, "pos", beat.pos) &&
         field(json, "t", beat.t) && field(json, "d", beat.d);
}

// Each beat once, at its time. A message tells when the NEXT beat is due, so one that is late or lost moves nothing.
class Beats {
 public:
  void message(const Beat& heard) {
    if (known_ && (heard.rev < last_.rev || (heard.rev == last_.rev && heard.n < last_.n))) return;
    // How long a bar is shows where one begins; the beat itself may have been played already.
    if (known_ && heard.pos == 1 && heard.n == last_.n + 1) per_bar_ = last_.pos;
    if (known_ && heard.pos == 1 && heard.n == last_.n && last_.pos > 1) per_bar_ = last_.pos - 1;
    // The very beat that has just been played, at its time or retimed a little.
    bool played = known_ && played_ && heard.n == last_.n && near(heard.t, last_.t, heard.d);
    last_ = heard;
    played_ = played;
    known_ = true;
    alone_ = 0;
  }

  // Whether a beat is due at server time `now`; which one.
  bool due(int64_t now, Beat& beat) {
    if (!known_) return false;
    if (!played_) {
      if (now < last_.t) return false;
      played_ = true;
      beat = last_;
      return worth(now);
    }
    if (last_.d <= 0 || alone_ >= AHEAD_BEATS || now < last_.t + last_.d) return false;
    alone_++;
    last_.t += last_.d;
    last_.n++;
    last_.pos = per_bar_ > 0 && last_.pos >= per_bar_ ? 1 : last_.pos + 1;
    beat = last_;
    return worth(now);
  }

  void forget() { known_ = false; }

 private:
  static bool near(int64_t a, int64_t b, int64_t d) { return (a > b ? a - b : b - a) < (d > 0 ? d / 2 : LATE_US); }
  bool worth(int64_t now) const {
    int64_t limit = last_.d > 0 && last_.d / 2 < LATE_US ? last_.d / 2 : LATE_US;
    return now - last_.t <= limit;
  }

  Beat last_ = {0, 0, 0, 0, 0};
  bool known_ = false, played_ = false;
  int64_t per_bar_ = 0;
  int alone_ = 0;
};

}  // namespace bandroom

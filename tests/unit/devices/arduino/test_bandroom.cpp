// Runs the sketch's time and beats on a computer. Prints the name of each claim that does not hold.
#include "bandroom.h"

static int failures = 0;
#define CLAIM(name, holds) \
  if (!(holds)) { printf("%s\n", name); failures++; }

using namespace bandroom;

static Beat beat(int64_t n, int64_t pos, int64_t t, int64_t d = 500000, int64_t rev = 7) { return Beat{rev, n, pos, t, d}; }

static void exchange(Clock& clock, int64_t sent, int64_t up, int64_t down, int64_t offset) {
  char ping[29];
  clock.ping("abcdefgh", sent, ping);
  char reply[29];
  snprintf(reply, sizeof reply, "%.12s%016lld", ping, (long long)(sent + up + offset));
  CLAIM("a reply is taken", clock.reply("abcdefgh", reply, 28, sent + up + down));
  CLAIM("a doubled reply is not", !clock.reply("abcdefgh", reply, 28, sent + up + down));
}

int main() {
  LocalClock local;
  local.us(0xFFFFFF00u);
  int64_t before = local.us(0xFFFFFFF0u);
  CLAIM("local time goes on where micros() wraps", local.us(0x10u) - before == 0x20);

  Clock clock;
  CLAIM("not synced at first", !clock.synced());
  exchange(clock, 1000, 40000, 300, 5000000000LL);   // a radio that slept
  exchange(clock, 31000, 400, 500, 5000000000LL);
  exchange(clock, 61000, 9000, 400, 5000000000LL);
  CLAIM("the quickest exchange tells the time", llabs(clock.server(100000) - 5000100000LL) <= 50);
  CLAIM("the error bound is honest", clock.error_us(100000) >= 50 && clock.error_us(100000) < 600);
  CLAIM("a stranger's reply is ignored", !clock.reply("abcdefgh", "ABCDEFGH 01 0000000000000001", 28, 1));
  CLAIM("a short reply is ignored", !clock.reply("abcdefgh", "abcdefgh 01", 11, 1));
  exchange(clock, 31000000, 2000, 2000, 5000000700LL);
  CLAIM("an old exchange gives way to a fresh one", llabs(clock.server(31004000) - 5031004700LL) < 10);
  for (int i = 0; i < 600; i++) exchange(clock, 40000000 + i * 30000LL, 300, 300, 5000000000LL);
  CLAIM("sequence numbers come round", llabs(clock.server(60000000) - 5060000000LL) < 10);

  Beat got, read;
  CLAIM("a beat message is read",
        read_beat("{\"rev\":7,\"n\":-3,\"bar\":0,\"pos\":2,\"bpm\":120.0,\"t\":1700000000000000,\"d\":500000}", read) &&
            read.n == -3 && read.t == 1700000000000000LL && read.d == 500000);
  CLAIM("rubbish is no beat", !read_beat("{\"rev\":7,\"n\":true}", read) && !read_beat("", read));

  Beats beats;
  CLAIM("nothing before the first message", !beats.due(0, got));
  beats.message(beat(3, 4, 1000000));
  CLAIM("the first beat at once", beats.due(1001000, got) && got.n == 3);
  CLAIM("and once", !beats.due(1002000, got));
  CLAIM("the next one not early", !beats.due(1499999, got));
  CLAIM("on time without its message", beats.due(1500000, got) && got.n == 4);
  beats.message(beat(4, 1, 1500000));
  CLAIM("its late message does not double it", !beats.due(1600000, got));
  beats.message(beat(4, 1, 1500000));
  CLAIM("nor does a doubled one", !beats.due(1700000, got));
  CLAIM("the bar's length is learned", beats.due(2000000, got) && got.pos == 2);
  for (int i = 0; i < 3; i++) beats.due(2500000 + i * 500000, got);
  CLAIM("lost messages: the position comes round", got.pos == 1 && got.n == 8);
  beats.message(beat(5, 2, 2000000));
  CLAIM("a message from the past changes nothing", beats.due(4000000, got) && got.n == 9);
  int alone = 0;
  for (int i = 0; i < 100; i++) alone += beats.due(4500000 + i * 500000LL, got);
  CLAIM("without any message it ends", alone < AHEAD_BEATS);
  beats.message(beat(0, 1, 90000000, 250000, 8));
  CLAIM("a start with a higher revision begins anew", beats.due(90000000, got) && got.n == 0);
  CLAIM("a beat that is far too late is left out", !beats.due(90450000, got));
  CLAIM("and the one after it comes", beats.due(90500000, got) && got.n == 2);
  beats.message(beat(3, 4, 90750000, 0, 8));
  beats.due(90750000, got);
  CLAIM("after the last beat there is none", !beats.due(99000000, got));
  if (!failures) printf("ok\n");
  return failures != 0;
}

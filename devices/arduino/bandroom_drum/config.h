// What you fill in. The last lines as `bandroom devices enroll --tenant lincoln d-drum-3` printed them.
#pragma once

#define WIFI_NAME "name of the network"
#define WIFI_PASSWORD "its password"

#define BROKER "192.168.1.20"
#define BROKER_PORT 1883

#define TENANT "lincoln"
#define SUBJECT "d-drum-3"
#define GENERATION 1
#define PASSWORD "26 letters and digits"

#define LED_PIN 2
#define BUTTON_PIN 14  // a button from this pin to ground
#define NOTE 38
#define INSTRUMENT "drums"  // for the roster: a word of PRES-6 in docs/protocol.md

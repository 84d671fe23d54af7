/* The broker's headers, and the numbers that its plugin package leaves to the client library's header. */
#ifndef BANDROOM_BROKER_H
#define BANDROOM_BROKER_H

#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

enum { BROKER_OK = 0, BROKER_INVALID = 3, BROKER_REFUSED = 11, BROKER_DENIED = 12 };
enum { BROKER_INFO = 1, BROKER_NOTICE = 2, BROKER_ERROR = 8 };

#endif

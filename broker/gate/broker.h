/* The broker's headers, and the numbers that the 2.0 plugin package leaves to the client library's header. */
#pragma once

#if __has_include(<mosquitto/broker.h>)
#include <mosquitto.h>
#include <mosquitto/broker.h>
#include <mosquitto/broker_plugin.h>
#define BROKER_2_1 1
#else
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#define BROKER_2_1 0
#endif

enum { BROKER_OK = 0, BROKER_INVALID = 3, BROKER_REFUSED = 11, BROKER_DENIED = 12, BROKER_OVER_QUOTA = -6 };
enum { BROKER_INFO = 1, BROKER_NOTICE = 2, BROKER_ERROR = 8 };

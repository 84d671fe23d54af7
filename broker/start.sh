#!/bin/sh
# Start of the broker's container: wait for the configuration, which the service's container writes, then become the broker.
set -eu
conf=${1:-/data/broker/mosquitto.conf}
umask 077
until [ -s "$conf" ]; do sleep 0.2; done
# A killed broker leaves its socket's file behind, and a report that is no longer true.
socket=$(sed -n 's/^plugin_opt_socket //p' "$conf")
dir=$(sed -n 's/^plugin_opt_dir //p' "$conf")
rm -f "$socket" "$dir/status"
exec mosquitto -c "$conf"

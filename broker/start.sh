#!/bin/sh
# Start of the broker's container: wait for the configuration, which the service's container writes, then run the
# broker; have it read keys and certificate again when they change, and start it anew when its configuration does.
set -eu
conf=${1:-/data/broker/mosquitto.conf}
umask 077
until [ -s "$conf" ]; do sleep 0.2; done

of_conf() { sed -n "s/^$1 //p" "$conf" | head -n 1; }
# What can change under a running broker: the gate's keys, and the certificate where there is one.
secrets() { cat "$(of_conf plugin_opt_dir)/keys" "$(of_conf certfile)" 2>/dev/null | cksum; }
# Does it catch SIGHUP already? Before that the signal would end it.
hears() {
    case $(sed -n 's/^SigCgt:.*\(.\)$/\1/p' "/proc/$broker/status" 2>/dev/null) in [13579bdf]) return 0 ;; esac
    return 1
}

ending=
trap 'ending=1; kill -TERM "$broker" 2>/dev/null || :' TERM INT
while :; do
    # A killed broker leaves its socket's file behind, and a report that is no longer true.
    rm -f "$(of_conf plugin_opt_socket)" "$(of_conf plugin_opt_dir)/status"
    configured=$(cksum <"$conf")
    read=$(secrets)
    mosquitto -c "$conf" &
    broker=$!
    again=
    while [ -z "$ending$again" ] && kill -0 "$broker" 2>/dev/null; do
        sleep 1 &
        # Unlike sleep itself, wait lets a signal in at once.
        wait $! || :
        [ -z "$ending" ] && hears || continue
        if [ -s "$conf" ] && [ "$(cksum <"$conf")" != "$configured" ]; then
            again=1
            kill -TERM "$broker"
        elif [ "$(secrets)" != "$read" ]; then
            read=$(secrets)
            kill -HUP "$broker"
        fi
    done
    code=0
    wait "$broker" || code=$?
    [ -z "$ending" ] || exit 0
    # Ended by itself: whoever started this container decides what is next.
    [ -n "$again" ] || exit "$code"
done

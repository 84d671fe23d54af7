#!/bin/sh
# Brings a machine to where `bandroom up` works: system packages, virtual environment, the gate.
#
#   scripts/setup.sh           what `make up` needs
#   scripts/setup.sh --test    and what the tests need: other versions of Mosquitto, too, in a cache
#   scripts/setup.sh --fuzz    and what `make fuzz` and `make soak` need: clang, valgrind
#
# What is there is left alone: a second run takes a second. BANDROOM_NO_APT=1 installs no system package;
# PYTHON names another interpreter than python3.
set -eu
cd "$(dirname "$0")/.."

want_test=
want_fuzz=
for word in "$@"; do
    case $word in
        --test) want_test=1 ;;
        --fuzz) want_test=1 want_fuzz=1 ;;
        *) echo "usage: scripts/setup.sh [--test | --fuzz]" >&2; exit 2 ;;
    esac
done

python=${PYTHON:-python3}
venv=.venv
say() { printf '%s\n' "setup: $*"; }

# -- 1. What of the system is missing, by the names that Debian and Ubuntu give it.

# Daemons lie outside an ordinary user's PATH on Debian.
has() { PATH="$PATH:/usr/sbin:/usr/local/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }
has_header() { [ -f "/usr/include/$1" ] || [ -f "/usr/local/include/$1" ]; }
good_python() { "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

is_ubuntu() { grep -qs '^ID=ubuntu' /etc/os-release; }

# Does the clang that is there find libFuzzer?
fuzzes() {
    runtime=$(clang -fsanitize=fuzzer -### -x c /dev/null -o /dev/null 2>&1 | grep -o '[^" ]*libclang_rt\.fuzzer[^" ]*\.a' | head -n 1)
    [ -n "$runtime" ] && [ -f "$runtime" ]
}

missing=
need() { missing="$missing $1"; }
look() {
    missing=
    if [ ! -x "$venv/bin/python" ]; then
        if ! has "$python"; then need python3; need python3-venv
        elif ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then need python3-venv
        fi
    fi
    [ -n "${BANDROOM_MOSQUITTO:-}" ] || has mosquitto || need mosquitto
    if [ -z "${BANDROOM_GATE:-}" ]; then
        has_header mosquitto_plugin.h || need mosquitto-dev
        # Newer plugin headers include the client library's.
        { has_header mosquitto_plugin.h && ! grep -qs '[<"]mosquitto\.h' /usr/include/mosquitto_plugin.h \
            /usr/include/mosquitto_broker.h; } || has_header mosquitto.h || need libmosquitto-dev
        has_header openssl/evp.h || need libssl-dev
        has_header jansson.h || need libjansson-dev
        has_header zlib.h || need zlib1g-dev
        has cc || need gcc
        printf '#include <stdlib.h>\n' | cc -E - >/dev/null 2>&1 || need libc6-dev
        has make || need make
    fi
    if [ -n "$want_test" ]; then
        # Ubuntu has Chromium as a snap only, which a test cannot drive: Playwright brings its own there (below).
        is_ubuntu || has chromium || has google-chrome || need chromium
        has c++ || need g++ # for the Arduino sketch's own tests
        has fluidsynth || need fluidsynth
        find /usr/share/sounds /usr/share/soundfonts -name '*.sf[23]' 2>/dev/null | grep -q . || need timgm6mb-soundfont
    fi
    if [ -n "$want_fuzz" ]; then
        # Debian recommends the fuzzer's runtime beside clang, and recommended packages are not installed here.
        # Its name has clang's version in it, which is known once clang is there: a second pass.
        if ! has clang; then need clang; elif ! fuzzes; then need "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"; fi
        has valgrind || need valgrind
    fi
    missing=${missing# }
}

by_hand() {
    cat >&2 <<TEXT
setup: please install by hand, then run this again:
    Debian, Ubuntu:  apt install $missing
    Fedora:          dnf install python3 mosquitto mosquitto-devel gcc make openssl-devel jansson-devel zlib-devel
    Arch:            pacman -S python mosquitto gcc make openssl jansson zlib
    elsewhere:       Python >= 3.11 with venv; mosquitto 2.0 or newer with its plugin headers
                     (mosquitto_plugin.h); a C compiler and make; the headers of OpenSSL 3
                     (openssl/evp.h), Jansson (jansson.h) and zlib (zlib.h)
    Windows, macOS:  docker compose up, see README.md
TEXT
    exit 1
}

# Debian's package starts a broker on port 1883 and would start it at every boot. Ours is another one, so this one is
# kept from starting; one that was installed before is somebody's and is left alone (`bandroom up` then takes another port).
install_by_apt() {
    as_root=
    if [ "$(id -u)" != 0 ]; then
        has sudo || by_hand
        as_root=sudo
        # Without a terminal nobody can type the password.
        [ -t 0 ] || sudo -n true 2>/dev/null || by_hand
    fi
    say "will install by apt${as_root:+ (with sudo)}: $missing"
    # shellcheck disable=SC2086  # a list of words
    $as_root sh -eu -c '
        export DEBIAN_FRONTEND=noninteractive
        policy=/usr/sbin/policy-rc.d
        fresh=
        for name; do [ "$name" != mosquitto ] || fresh=1; done
        if [ -n "$fresh" ] && [ ! -e "$policy" ]; then
            trap "rm -f $policy" EXIT
            printf "#!/bin/sh\nexit 101\n" > "$policy"
            chmod 755 "$policy"
        fi
        install() { apt-get install -y -q --no-install-recommends "$@"; }
        # The lists may be missing or too old; the first failure is not worth showing.
        install "$@" >/dev/null 2>&1 || { apt-get update -q && install "$@"; }
        if [ -n "$fresh" ] && [ -d /run/systemd/system ]; then
            systemctl disable --now mosquitto.service >/dev/null 2>&1 || true
        fi
    ' sh $missing
    case " $missing " in
        *" mosquitto "*) say "Debian's own mosquitto service is disabled; bandroom starts a broker of its own" ;;
    esac
}

look
if [ -n "$missing" ]; then
    for _ in 1 2; do
        if has apt-get && [ -z "${BANDROOM_NO_APT:-}" ]; then install_by_apt; else by_hand; fi
        look
        [ -n "$missing" ] || break
    done
    [ -z "$missing" ] || by_hand
fi
if [ ! -x "$venv/bin/python" ] && ! good_python; then
    say "$("$python" --version 2>&1) is too old: Python 3.11 or newer is needed; name one: make up PYTHON=python3.12" >&2
    exit 1
fi

# -- 2. The virtual environment, done again only when what it depends on has changed.

set_name=run
[ -z "$want_test" ] || set_name=test
# An environment is bound to its interpreter and its place.
wanted() { { echo "$set_name $PWD"; "$venv/bin/python" -VV; cat pyproject.toml; cat hatch_build.py 2>/dev/null || :; } | cksum; }

if [ -x "$venv/bin/python" ] && ! "$venv/bin/python" -c 'import pip' >/dev/null 2>&1; then
    say "$venv is damaged; making it anew"
    rm -rf "$venv"
fi
[ -x "$venv/bin/python" ] || { say "making $venv"; "$python" -m venv "$venv"; }
stamp=$venv/.set-up-for-$set_name
if [ "$(cat "$stamp" 2>/dev/null)" != "$(wanted)" ]; then
    say "installing Python packages into $venv"
    list=$venv/.dev-requirements
    : > "$list"
    [ -z "$want_test" ] || "$venv/bin/python" -c '
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")' > "$list"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -e '.[server,midi]' -r "$list"
    wanted > "$stamp"
    # What the tests need includes what a run needs.
    [ -z "$want_test" ] || { set_name=run; wanted > "$venv/.set-up-for-run"; }
    if [ -n "$want_test" ] && is_ubuntu; then "$venv/bin/playwright" install --with-deps chromium; fi
fi

# -- 3. The gate, in a cache by the hash of its source and of the broker's headers.

"$venv/bin/python" -P -c '
import sys, tempfile
from bandroom.paths import Home
from bandroom.supervisor.errors import StartError
from bandroom.supervisor.gate import find_broker, find_gate
try:
    find_broker()
    find_gate(Home.from_environment())
except StartError as error:
    sys.exit(f"setup: {error}")
'
# -- 4. Other versions of Mosquitto, for those tests of the gate that run against each of them. A network that does not
# give them is no reason to stop: those tests then say that they did not run.

if [ -n "$want_test" ] && has apt-get && [ -z "${BANDROOM_NO_APT:-}" ]; then
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/bandroom/mosquitto
    broker/gate/fetch-mosquitto.sh "$cache" >/dev/null || say "not all of them could be had; the tests will say which"
fi
say "ready"

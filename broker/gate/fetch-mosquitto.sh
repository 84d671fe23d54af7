#!/bin/sh
# Brings other versions of Mosquitto, with headers and libraries, into a cache folder, for tests of the gate.
# Nothing is installed. Each version gets FOLDER/<version>/ with include/ and a runnable bin/mosquitto.
#   fetch-mosquitto.sh [FOLDER]      default ${XDG_CACHE_HOME:-~/.cache}/bandroom/mosquitto
# A mirror that has stood still for weeks will do, for versions that are pinned; its signature is checked all the same.
# Exit code 1: at least one pinned version could not be had (said on standard error); the others are there.
set -u
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/bandroom/mosquitto}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
pins='trixie:2.0.21 sid:2.1'
missing=0

fetch() { # suite, version it must begin with
    work=$(mktemp -d) || return 1
    mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/root"
    : >"$work/status"
    trust="signed-by=$keyring"
    [ -r "$keyring" ] || trust='trusted=no'
    echo "deb [$trust] $mirror $1 main" >"$work/sources.list"
    apt="apt-get -qq -o Dir::Etc::SourceList=$work/sources.list -o Dir::Etc::SourceParts=/dev/null
         -o Dir::State=$work -o Dir::State::Lists=$work/lists -o Dir::State::status=$work/status
         -o Dir::Cache=$work -o Dir::Cache::Archives=$work/archives -o APT::Sandbox::User=$(id -un)
         -o Debug::NoLocking=1 -o Acquire::Languages=none -o APT::Install-Recommends=0
         -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Acquire::Check-Valid-Until=false
         -o Dpkg::Pre-Install-Pkgs= -o DPkg::Post-Invoke= -o APT::Update::Post-Invoke="
    # shellcheck disable=SC2086
    $apt update && $apt -y --download-only install mosquitto mosquitto-dev libmosquitto-dev || return 1
    for package in "$work"/archives/*.deb; do
        dpkg-deb -x "$package" "$work/root" || return 1
    done
    find "$work/root" -name '*.so.*' -printf '%h\n' | sort -u | while read -r dir; do
        PATH=$PATH:/sbin:/usr/sbin ldconfig -n "$dir" # some packages leave it to ldconfig to make the links
    done
    version=$(dpkg-deb -f "$work"/archives/mosquitto_*.deb Version) || return 1
    case $version in "$2"*) ;; *) echo "$1 has $version, not $2" >&2; return 1 ;; esac
    found=$(find "$work/root" -name 'mosquitto' -type f -path '*bin/*' | head -n 1)
    loader=$(find "$work/root" -name 'ld-linux*.so.*' | head -n 1)
    [ -n "$found" ] && [ -n "$loader" ] || return 1
    short=${version%%[-+~]*}
    rm -rf "${folder:?}/$short"
    mkdir -p "$folder/$short/bin"
    mv "$work/root" "$folder/$short/root"
    ln -s root/usr/include "$folder/$short/include"
    # A newer suite's broker wants its own libraries, the C library included.
    cat >"$folder/$short/bin/mosquitto" <<EOF
#!/bin/sh
root=$folder/$short/root
libraries=\$(find "\$root" -name '*.so.*' -path '*/lib/*' -printf '%h\n' | sort -u | tr '\n' ':')
exec "\$root${loader#"$work/root"}" --library-path "\$libraries" "\$root${found#"$work/root"}" "\$@"
EOF
    chmod +x "$folder/$short/bin/mosquitto"
    echo "$folder/$short"
}

for pin in $pins; do
    version=${pin#*:}
    set -- "$folder/$version"*/bin/mosquitto
    if [ -x "$1" ]; then
        echo "${1%/bin/mosquitto}"
        continue
    fi
    echo "fetching mosquitto $version from Debian ${pin%:*} into $folder" >&2
    if ! fetch "${pin%:*}" "$version"; then
        echo "mosquitto $version (Debian ${pin%:*}) could not be had: tests with it will not run" >&2
        missing=1
    fi
    [ -z "${work:-}" ] || rm -rf "$work"
done
exit $missing

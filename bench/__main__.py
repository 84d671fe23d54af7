"""`make bench` runs the classroom; `make bench ARGS=time` and the others run the bench of that name."""

import importlib
import sys

NAMES = ("classroom", "engine", "gate", "rooms", "time")


def main() -> int:
    words = sys.argv[1:]
    name = words.pop(0) if words and not words[0].startswith("-") else "classroom"
    if name not in NAMES:
        print(f"there is no bench {name!r}: choose from {', '.join(NAMES)}", file=sys.stderr)
        return 2
    sys.argv = [f"bench.{name}", *words]
    importlib.import_module(f"bench.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())

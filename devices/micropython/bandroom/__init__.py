# Bandroom on boards: copy this folder to the board's /lib.

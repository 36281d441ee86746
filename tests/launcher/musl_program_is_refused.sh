. "$HERE/common.sh"
refused 1 "built for musl" "$PROGRAMS/launcher_musl"

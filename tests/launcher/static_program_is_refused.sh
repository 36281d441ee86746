. "$HERE/common.sh"
refused 1 "statically linked" "$PROGRAMS/launcher_static"
printf '#!%s\n' "$PROGRAMS/launcher_static" >script
chmod +x script
refused 1 "launcher_static is statically linked" ./script

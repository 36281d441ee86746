. "$HERE/common.sh"
refused 127 "not found" no-such-command
refused 127 "not found" ./no-such-command
printf '#!/no/interpreter\n' >script
chmod +x script
refused 127 "/no/interpreter, which does not exist" ./script

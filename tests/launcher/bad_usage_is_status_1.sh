. "$HERE/common.sh"
refused 1 "a command is missing"
refused 1 "unknown option --evry" --evry 5m true
refused 1 "expected a time" --every 5x true
refused 1 "nearest is 512K" --sample 500K true
status=0
"$LEAKSHIM" 2>err || status=$?
expect "status without arguments" 1 "$status"
"$LEAKSHIM" --version | grep -q '^leakshim [0-9]'
"$LEAKSHIM" run --help | grep -q -- '--every TIME'

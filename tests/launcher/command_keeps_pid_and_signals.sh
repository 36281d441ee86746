. "$HERE/common.sh"
"$LEAKSHIM" run sh -c 'trap "echo terminated; exit 9" TERM; echo $$; while :; do sleep 0.1; done' >out 2>/dev/null &
pid=$!
while [ ! -s out ] && kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
expect "pid of the command" "$pid" "$(cat out)"
kill -TERM "$pid"
status=0
wait "$pid" || status=$?
expect "status after the signal" 9 "$status"
expect "last line" terminated "$(tail -n 1 out)"

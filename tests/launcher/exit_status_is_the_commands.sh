. "$HERE/common.sh"
for wanted in 0 1 3 77 126 127; do
  status=0
  "$LEAKSHIM" run sh -c "exit $wanted" 2>/dev/null || status=$?
  expect "exit status" "$wanted" "$status"
done

. "$HERE/common.sh"
found=$(LEAKSHIM_CONF=prof_keep:5,lg_prof_sample:12,prof_prefix:mine LD_PRELOAD="$LEAKSHIM_LIBRARY libc.so.6" \
  "$LEAKSHIM" run --sample 1M sh -c 'echo "$LEAKSHIM_CONF"; echo "$LD_PRELOAD"' 2>/dev/null)
expect "conf and preload" "prof_keep:5,lg_prof_sample:20,prof_prefix:$PWD/mine
$LEAKSHIM_LIBRARY:libc.so.6" "$found"

. "$HERE/common.sh"
found=$("$LEAKSHIM" run -o a/b sh -c 'echo "$LEAKSHIM_CONF"' 2>err)
expect conf "prof_prefix:$PWD/a/b/leakshim" "$found"
test -d a/b
grep -q "dumps in $PWD/a/b/leakshim\.\*" err
: >file
refused 1 "cannot make the dump directory.*/file" -o file true

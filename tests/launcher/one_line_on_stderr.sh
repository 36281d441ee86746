. "$HERE/common.sh"
"$LEAKSHIM" run --every 5m true 2>err
expect stderr "leakshim: profiling true; dumps in $PWD/leakshim.*; first in 5 min" "$(cat err)"

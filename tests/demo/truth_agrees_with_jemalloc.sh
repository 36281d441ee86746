# Usage: truth_agrees_with_jemalloc.sh DEMO.jar
# Runs the demo on jemalloc with a sample per 16 KiB and compares what jeprof finds live at exit. The 11 185 JNI blocks of 3000
# bytes are sampled with probability 0.167: a sigma of 2.1 %; jemalloc counts them as the 3072 that it gives, 2.4 % more. Of
# zlib's larger blocks nearly all are sampled. Allowed: 12 %.
jar=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
unset LEAKSHIM_CONF MALLOC_CONF

MALLOC_CONF=prof:true,prof_final:true,lg_prof_sample:14,prof_prefix:demo LD_PRELOAD=libjemalloc.so.2 java -jar "$jar" 2 >truth
jeprof --text --show_bytes --functions "$(command -v java)" demo.*.heap >found 2>/dev/null

# agrees SITE FUNCTION
agrees() {
  awk -v site="site=$1" -v name="$2" '
    FNR == NR && $2 == site { sub("bytes=", "", $5); truth = $5 }
    FNR != NR && $6 == name { found = $4 }
    END {
      printf "%s: truth %d, %s %d\n", site, truth, name, found
      exit !(truth > 10e6 && found > 0.88 * truth && found < 1.12 * truth)
    }' truth found
}
agrees zlib deflateInit2_
agrees jni Java_demo_NativeIndex_remember

. "$HERE/common.sh"
expect stdout "dummy loaded" "$(DUMMY_TELLS=1 "$LEAKSHIM" run true 2>/dev/null)"

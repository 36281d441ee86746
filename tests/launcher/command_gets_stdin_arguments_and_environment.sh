. "$HERE/common.sh"
found=$(echo input | COLOUR=red "$LEAKSHIM" run -- sh -c 'cat; echo "$COLOUR" "$@"' name -o 'two words' 2>/dev/null)
expect "what the command saw" "input
red -o two words" "$found"

. "$HERE/common.sh"
echo text >text
refused 126 "cannot be executed" ./text
refused 126 "cannot be executed" .

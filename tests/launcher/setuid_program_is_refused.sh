. "$HERE/common.sh"
if [ "$(id -u)" = 0 ]; then
  cp /bin/true privileged
  chown 65534 privileged
  chmod 4755 privileged
  program=./privileged
else
  program=/bin/su
fi
refused 1 "setuid" "$program"

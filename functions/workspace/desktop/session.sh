# What a desktop has on it from the start. The first word tells that windows are managed from now on.
echo managing
cd "$HOME" || exit
[ -x /usr/bin/tint2 ] && exec tint2 -c /opt/cleanroom/workspace/desktop/tint2rc

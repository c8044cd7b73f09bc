#!/bin/busybox sh
# The guest's only process of its own: it loads modules, sets up the network
# and then runs what the host sends over the serial port, line by line. After
# each line's output comes a line with a mark and the exit status.
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
while read -r module; do insmod "/$module" || echo "cannot load $module"; done </modules
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
for n in 1 2 3 4 5 6 7 8 9 10; do
	port=$(ls -d /dev/vport* 2>/dev/null) && break
	sleep 1
done
exec 3<>"$port"
echo "@@ready 0" >&3
while read -r line <&3; do
	(eval "$line") >&3 2>&1 3>&-
	echo "@@done $?" >&3
done
poweroff -f

#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
# The first process of a test kernel: makes a small machine of the initramfs, runs kernels_guest and powers off. What
# kernels_guest writes goes to the second serial port, so that words of the kernel never get between.
export PATH=/underpass/bin:/usr/sbin:/usr/bin:/sbin:/bin UNDERPASS_BIN=/underpass/bin
/bin/busybox mkdir -p /bin /sbin /proc /sys /dev /run /tmp /var /root /etc
/bin/busybox --install -s /bin
ln -sf /bin/busybox /sbin/modprobe # the kernel loads modules by this path
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ln -sf /proc/self/fd /dev/fd
mkdir -p /dev/shm /sys/fs/cgroup /run/netns
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
ln -sfn /run /var/run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
ip link set lo up
# Which of the image's modules are built in depends on the kernel.
find /lib/modules -name '*.ko' | sed 's|.*/||; s|\.ko$||' | while read -r module; do modprobe -q "$module"; done
stty -F /dev/ttyS1 raw
kernels_guest >/dev/ttyS1
echo "kernels_guest ended with $?"
poweroff -f

#!/bin/sh
# PID 1 of a host, in its new namespaces but still on the machine's disk: make the host's root, enter it, boot.
#   $1 host name  $2 state directory of the host  $3 image with the host's disk, or empty  $4 "volatile", or empty
# Says its pid (as the machine counts) on stdout, then waits for a line on stdin: the cable is plugged in by then.
set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
name=$1 state=$2 image=$3 volatile=$4
read -r pid _ </proc/self/stat
echo "$pid"
read -r plugged
exec >>"$state/console.log" 2>&1 </dev/null

mount --make-rprivate /
[ -z "$image" ] || mount -o loop "$image" "$state/disk"
root=$state/root
# volatile: nothing waits for the machine's disk, not fsync, nor the end of the host. The mark that such a mount leaves
# warns of a crash of the machine, after which no lab is left anyway.
rm -rf "$state/disk/work/work/incompat/volatile"
layers=lowerdir=/,upperdir=$state/disk/upper,workdir=$state/disk/work
mount -t overlay "lab-$name" -o "$layers${volatile:+,volatile}" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755,size=1m tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
mount -t tmpfs -o mode=755 tmpfs "$root/run"

hostname "$name"
mkdir -p "$root/run/machine"
cd "$root"
pivot_root . run/machine
umount -l /run/machine
rmdir /run/machine
exec env -i PATH="$PATH" HOME=/root LANG=C.UTF-8 /usr/bin/tini -- /bin/sh /etc/lab/boot

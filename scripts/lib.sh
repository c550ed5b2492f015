# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the scripts of this folder share; sourced, never run. It changes into the top folder of the repository.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
umask 022
shopt -s inherit_errexit # set -e holds in $(…) too
# bpftool, nginx and ip live in the sbin folders, which are not in everybody's PATH.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { printf '%s\n' "$*"; }

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# The comment at the top of the script, without the licence line: the text of --help.
usage() { awk 'NR > 2 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"; }

need_root() {
  [ "$(id -u)" -eq 0 ] || die "needs root (network namespaces, cgroups, BPF): sudo ./scripts/${0##*/}"
}

# Where cgroup v2 is mounted. Not always /sys/fs/cgroup: on a hybrid host that is a tmpfs full of cgroup v1.
cgroup2_mount() {
  local mount
  mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
  [ -n "$mount" ] || die "no cgroup2 mount in /proc/mounts; mount one: mount -t cgroup2 none /mnt/cgroup2"
  printf '%s\n' "$mount"
}

# What a build folder compiles, as lines "source object": sources relative to the top folder.
compiled() {
  jq -r --arg top "$PWD/" '.[] | "\(.file | ltrimstr($top)) \(.command | capture(" -o (?<object>[^ ]+)").object)"' \
    "$1/compile_commands.json"
}

# Ends what lives in a cgroup and its children, and removes them. Only ever given cgroups that these scripts or the
# tests made.
remove_cgroup() {
  local top=$1 deadline=$((SECONDS + 10))
  [ -d "$top" ] || return 0
  if [ -e "$top/cgroup.kill" ]; then
    echo 1 >"$top/cgroup.kill"
  else # before Linux 5.14
    find "$top" -name cgroup.procs -exec cat {} + | { xargs -r kill -KILL 2>/dev/null || true; }
  fi
  until find "$top" -depth -type d -exec rmdir {} + 2>/dev/null && [ ! -d "$top" ]; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

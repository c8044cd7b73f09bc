#!/usr/bin/env bash
# Installs the Debian packages that tests, demo and bench use; without root it
# prints the command that would. Nothing is needed to build or run Redoubt.
# Further tools: scripts/deps.sh TOOL=PACKAGE...
set -euo pipefail
declare -A package=(
	[fio]=fio [nbdinfo]=libnbd-bin [nbdcopy]=libnbd-bin [nbdfuse]=libnbd-bin [nbdsh]=python3-libnbd
	[nbdkit]=nbdkit [qemu-nbd]=qemu-utils [qemu-img]=qemu-utils [qemu-storage-daemon]=qemu-system-common
	[mke2fs]=e2fsprogs [e2fsck]=e2fsprogs [debugfs]=e2fsprogs [losetup]=mount [mount]=mount
	[mkfs.xfs]=xfsprogs [xfs_repair]=xfsprogs [mkfs.btrfs]=btrfs-progs [btrfs]=btrfs-progs
	[qemu-system-x86_64]=qemu-system-x86 [pg_ctlcluster]=postgresql [sqlite3]=sqlite3 [ip]=iproute2
)
for extra; do package[${extra%%=*}]=${extra#*=}; done
PATH=$PATH:/usr/sbin:/sbin
missing=()
for tool in "${!package[@]}"; do
	command -v "$tool" >/dev/null || missing+=("${package[$tool]}")
done
[ ${#missing[@]} -eq 0 ] && exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
install="apt-get install -y --no-install-recommends ${missing[*]}"
if [ "$(id -u)" != 0 ]; then
	echo "deps: missing packages; run: sudo $install" >&2
	exit 1
fi
command -v apt-get >/dev/null || { echo "deps: missing ${missing[*]}, and no apt-get to install them" >&2; exit 1; }
echo "deps: $install"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { $install || { apt-get update && $install; }; } >"$log" 2>&1; then
	cat "$log" >&2
	exit 1
fi
rm -f "$log"

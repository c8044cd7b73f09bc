// Package guest boots a Debian kernel in QEMU (software emulation, no KVM), with
// an initramfs made here of busybox, e2fsprogs, nbd-client and redoubt: a host
// whose kernel has an NBD client, wherever the tests run. Packages are
// downloaded with apt-get and unpacked in a cache; nothing is installed.
package guest

// Package lan is a network for processes of one machine, each in a network
// namespace of its own, with a switch in this process: the way from any host to
// any other can be cut, also in one direction only, slowed down and delayed
// while it is used. The kernel of each namespace counts what passes. It needs
// root, ip and /dev/net/tun.
package lan

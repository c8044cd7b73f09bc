// Package netmux puts all of a node's traffic on one TLS 1.3 port: ALPN tells
// shipping, Raft, peer and admin connections apart, each has a listener of its
// own, and every connection knows who its peer is. See DESIGN.md.
package netmux

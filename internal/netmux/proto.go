package netmux

import (
	"net"

	"github.com/redoubt-dr/redoubt/internal/pki"
)

// The protocols of a port, by their ALPN names.
const (
	ProtoShip = "redoubt-ship/1" // deltas, package ship
	ProtoRaft = "redoubt-raft/1" // Raft transport, package cluster
	ProtoPeer = "redoubt-peer/1" // calls between nodes, package rpc

	ProtoCompare = "redoubt-compare/1" // hashes of blocks, package compare
	// ProtoAdmin stands for h2 and http/1.1 together. Its listener yields
	// *tls.Conn, because net/http speaks HTTP/2 only on that type.
	ProtoAdmin = "admin"
)

// The ALPN names behind ProtoAdmin.
const (
	alpnH2    = "h2"
	alpnHTTP1 = "http/1.1"
)

// Conn is a connection of one of the redoubt-* protocols whose peer has proved
// its identity.
type Conn struct {
	net.Conn
	peer  pki.Identity
	proto string
	below *batch
}

// Cork holds back what is written and passes it on in larger pieces, until
// Uncork. See wire.Corker.
func (c *Conn) Cork() { c.below.Cork() }

// Uncork passes on what was held back. An error of a write since Cork may show
// here only.
func (c *Conn) Uncork() error { return c.below.Uncork() }

// Identity returns who the peer is.
func (c *Conn) Identity() pki.Identity { return c.peer }

// Proto returns the ALPN protocol.
func (c *Conn) Proto() string { return c.proto }

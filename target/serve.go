package target

// The methods that nodes call on one another, beside those of the shards.
const (
	methodContact = "target.contact" // contacts of the groups that the caller owns
	methodSpace   = "target.space"   // bytes that the node has left
	methodLeases  = "target.leases"  // leaseRequest -> the points of a group that are open
)

// serve registers what other nodes may call.
func (s *Store) serve() {
	s.shards.Serve()
	s.peers.Handle(methodContact, s.serveContact)
	s.peers.Handle(methodLeases, s.serveLeases)
	s.peers.Handle(methodSpace, s.serveSpace)
	s.peers.Answer()
}

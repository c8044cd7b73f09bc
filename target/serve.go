package target

// serve registers what other nodes may call.
func (s *Store) serve() {
	s.shards.Serve()
	s.thin.Serve()
	s.peers.Handle(methodContact, s.serveContact)
	s.peers.Answer()
}

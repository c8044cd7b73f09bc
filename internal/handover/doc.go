// Package handover passes sockets from one life of redoubtd to the next, so
// that a planned restart closes none of them: the listening sockets, and the
// NBD connections with what their clients have agreed with us.
//
// A State is what is passed. It has two carriers: Exec, which replaces the
// program in its process, and Store, which leaves the State in the keeping of
// the service manager. Inherit takes it back, whichever it was. Sockets also
// takes the listening sockets that the service manager made (socket activation).
package handover

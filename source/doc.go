// Package source is the primary site's role of the daemon: it opens the
// protection groups of a host, serves their disks, copies them to the
// secondary site once, ships every change after that, turns read-only when a
// later epoch has taken over, takes the way back as a replica, and goes on as
// the writer when the catalog says so.
//
// A Host has one Group per protection group. Each Group is moved between its
// modes (writer, fenced, replica) by one goroutine, run; what is durable about
// the mode is the Role, kept in the group's journal.
package source

// Package check proves that a recovery point can be used: it opens the point
// as a test failover, measures how long that takes to the first byte of every
// disk, has a script of the administrator look at the disks, computes what
// they hold, and attaches a signed receipt of all that to the point.
//
// Whatever happens nothing stays open: the test failover is ended, what the
// script has mounted below its scratch folder is unmounted, its processes are
// killed; after a crash of the node its next life does that.
package check

// Command target measures the secondary site with the real programs: how fast
// one and eight groups are taken in beside nbdcopy to nbdkit, at which cost, and
// how fast a point is read back.
package main

// Command failover measures, with real programs on loopback, how long an
// operator and his users wait: from the RPC of a test, planned or unplanned
// failover to the first write that the disk has answered, and between the last
// write at one site and the first at the other when production moves on
// purpose. It prints a table over sizes of the disk and backlogs.
package main
